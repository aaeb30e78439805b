import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Cloud } from "../../tools/cloud/simulators";

const ROOT = path.resolve(import.meta.dirname, "../..");

/** A cloud of its own for one test file; it ends with this process, however that ends. */
export async function startCloud(): Promise<{ cloud: Cloud; stop: () => Promise<void> }> {
  const directory = mkdtempSync(path.join(tmpdir(), "urr-cloud-"));
  const cloud = await Cloud.up(directory, { owner: process.pid });
  return {
    cloud,
    stop: async () => {
      await cloud.down();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** What the stand-in booking API was asked. */
export interface BookingCall {
  readonly path: string;
  readonly authorization: string | undefined;
  readonly idempotencyKey: string | undefined;
  readonly body: unknown;
}

/** Stands in for ticket-service's internal API. */
export class BookingApi {
  readonly calls: BookingCall[] = [];
  private constructor(private readonly server: Server) {}

  static async start(): Promise<BookingApi> {
    let api: BookingApi | undefined;
    const server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const { headers } = request;
      api?.calls.push({
        path: request.url ?? "",
        authorization: headers.authorization,
        idempotencyKey: headers["idempotency-key"] as string | undefined,
        body: JSON.parse(Buffer.concat(chunks).toString() || "null"),
      });
      response.writeHead(200, { "content-type": "application/json" }).end("{}");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    api = new BookingApi(server);
    return api;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** Asks again until the answer is there; fails with what was waited for. */
export async function eventually<T>(what: string, ask: () => Promise<T | undefined>, seconds = 300): Promise<T> {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > end) throw new Error(`waited ${seconds} s for ${what}`);
    await sleep(500);
  }
}

/** Set to `none`, the life begins with this checkout: shorter, for whoever works on the suite. */
const BEGIN_VARIABLE = "URR_LIFE_BEGINS_WITH";

/** The commit before this one on main in a folder of its own, or why there is none to begin with. */
export function previousCheckout(): { directory: string } | { missing: string } {
  if (process.env[BEGIN_VARIABLE] === "none") return { missing: `${BEGIN_VARIABLE} is none` };
  const git = (...args: string[]) => spawnSync("git", ["-C", ROOT, ...args], { encoding: "utf8" });
  const parent = git("rev-parse", "--verify", "--quiet", "HEAD~1");
  if (parent.status !== 0) return { missing: parent.stderr.trim() || "this history has no commit before this one" };
  const directory = mkdtempSync(path.join(tmpdir(), "urr-previous-"));
  const archive = execFileSync("git", ["-C", ROOT, "archive", "HEAD~1"], { maxBuffer: 1 << 30 });
  execFileSync("tar", ["-x", "-C", directory], { input: archive });
  if (
    existsSync(path.join(directory, "stacks/prod.ts")) &&
    existsSync(path.join(directory, "tools/guard/terraform.mjs"))
  ) {
    return { directory };
  }
  rmSync(directory, { recursive: true, force: true });
  return { missing: `commit ${parent.stdout.trim().slice(0, 12)} has no stacks to deploy` };
}
