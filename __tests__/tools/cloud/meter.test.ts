import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, it } from "vitest";
import { Meter } from "../../../tools/cloud/meter";

const HELD_MIB = 150;

it("sees the memory of a command's descendants, and how long it ran", async () => {
  const script = `const held = Buffer.alloc(${HELD_MIB} << 20, 1); setTimeout(() => held, 4000)`;
  // Two processes below the command, as Terraform's provider is below the cdktf CLI.
  const child = spawn("sh", ["-c", `sh -c '"${process.execPath}" -e "${script}"; true'; true`], { stdio: "ignore" });
  const meter = new Meter(child.pid ?? 0);
  await once(child, "close");
  const { largest, peakMib, seconds } = meter.stop();
  expect(largest.mib).toBeGreaterThan(HELD_MIB);
  expect(largest.name).not.toBe("");
  expect(peakMib).toBeGreaterThan(largest.mib);
  expect(seconds).toBeGreaterThan(3);
});
