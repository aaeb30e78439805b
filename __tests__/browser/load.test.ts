import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { measureLoad } from "../../tools/load/measure";

const output = mkdtempSync(join(tmpdir(), "urr-load-"));
afterAll(() => rmSync(output, { recursive: true, force: true }));

it("takes a crowd through the whole edge: own positions, nobody early, seats for those who were let in", async () => {
  execFileSync("node", ["tools/app/index.mjs"], { env: { ...process.env, CDKTF_OUTDIR: output } });
  const visitors = 200;
  const result = await measureLoad(
    {
      visitors,
      arrivalMs: 500,
      rate: 100,
      sockets: 40,
      environments: 4,
      maxSeconds: 240,
      stackDirectory: join(output, "stacks/prod"),
    },
    () => undefined,
  );
  expect(result.booked).toBe(50);
  // One write for the row and less than one for the place; the index takes none.
  expect(result.assignWriteUnits).toBeLessThan(visitors * 2);
  expect(result.readUnitsPerCheck).toBeLessThan(1);
  expect(result.timeline.reduce((sum, { admitted }) => sum + admitted, 0)).toBe(visitors);
});
