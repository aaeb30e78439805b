import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";

/** S3's shapes as far as Terraform's backend and the bundles use them, in memory; paths are /BUCKET/KEY. */
export class ObjectStore {
  readonly objects = new Map<string, { body: Buffer; headers: IncomingHttpHeaders }>();
  private readonly server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const url = new URL(request.url ?? "", "http://x");
    const key = decodeURIComponent(url.pathname);
    const error = (status: number, code: string) =>
      response
        .writeHead(status, { "content-type": "application/xml" })
        .end(request.method === "HEAD" ? undefined : `<Error><Code>${code}</Code><Message>${code}</Message></Error>`);
    const object = this.objects.get(key);
    if (request.method === "PUT") {
      if (request.headers["if-none-match"] === "*" && object) return error(412, "PreconditionFailed");
      this.objects.set(key, { body: Buffer.concat(chunks), headers: request.headers });
      return response.writeHead(200, { etag: '"e"' }).end();
    }
    if (request.method === "DELETE") {
      this.objects.delete(key);
      return response.writeHead(204).end();
    }
    if (url.searchParams.has("list-type") || url.searchParams.has("prefix"))
      return response
        .writeHead(200, { "content-type": "application/xml" })
        .end("<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>");
    if (!object) return error(404, "NoSuchKey");
    return response
      .writeHead(200, { "content-type": "application/octet-stream", "content-length": object.body.length })
      .end(request.method === "HEAD" ? undefined : object.body);
  });

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }
}
