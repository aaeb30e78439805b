import { createServer, type IncomingMessage, type OutgoingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";

/** A request between the parts of the local run. Header names are lower case. */
export interface HttpRequest {
  readonly method: string;
  readonly path: string;
  /** Without the question mark. */
  readonly query: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly clientIp: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  readonly body: string | Buffer;
}

export type HttpHandler = (request: HttpRequest) => Promise<HttpAnswer>;

/** Serves on the loopback address; port 0 picks a free one. */
export async function serve(handle: HttpHandler, port = 0): Promise<Server> {
  const server = createServer((incoming, outgoing) => {
    toRequest(incoming)
      .then(handle)
      .catch((error: unknown): HttpAnswer => {
        process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
        return {
          status: 500,
          headers: { "content-type": "text/plain" },
          body: "The local run failed; see its output.",
        };
      })
      .then(({ status, headers, body }) => {
        const bytes = typeof body === "string" ? Buffer.from(body) : body;
        outgoing.writeHead(status, { ...(headers as OutgoingHttpHeaders), "content-length": bytes.length });
        outgoing.end(incoming.method === "HEAD" ? undefined : bytes);
      });
  });
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve());
  });
  return server;
}

export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

export async function stopServer(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

export function json(status: number, body: unknown, headers: HttpAnswer["headers"] = {}): HttpAnswer {
  return {
    status,
    headers: { "content-type": "application/json; charset=utf-8", "cache-control": "no-store", ...headers },
    body: `${JSON.stringify(body)}\n`,
  };
}

async function toRequest(incoming: IncomingMessage): Promise<HttpRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) {
    chunks.push(chunk as Buffer);
  }
  const url = incoming.url ?? "/";
  const at = url.indexOf("?");
  return {
    method: incoming.method ?? "GET",
    path: at < 0 ? url : url.slice(0, at),
    query: at < 0 ? "" : url.slice(at + 1),
    headers: Object.fromEntries(
      Object.entries(incoming.headers).map(([name, value]) => [
        name,
        Array.isArray(value) ? value.join(", ") : (value ?? ""),
      ]),
    ),
    body: Buffer.concat(chunks),
    clientIp: incoming.socket.remoteAddress ?? "127.0.0.1",
  };
}
