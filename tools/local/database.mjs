// dynalite in a process of its own, so that it does not share a core with what calls it, and with two things on its wire: the
// functions' permissions, refused as DynamoDB does, and a meter that counts capacity units as DynamoDB would, and writes per
// partition key and second. Ends with its parent.
import { Readable } from "node:stream";
import dynalite from "dynalite";

let callers = new Set();
/** `caller operation table` of everything that a function may do. */
let allowed = new Set();

const usage = { writeUnits: 0, readUnits: 0, writes: 0, reads: 0 };
/** Partition key to the writes of each second. */
const hottest = new Map();
const WRITES = new Set(["PutItem", "UpdateItem", "DeleteItem"]);
const READS = new Set(["GetItem", "Query", "Scan"]);

function reset() {
  Object.assign(usage, { writeUnits: 0, readUnits: 0, writes: 0, reads: 0 });
  hottest.clear();
}

function countWrite(body, bytes) {
  const units = Math.max(1, Math.ceil(bytes / 1024));
  // A row that carries the sort key of the index is written there too.
  const indexed = body.Item?.position === undefined ? 0 : units;
  usage.writes += 1;
  usage.writeUnits += units + indexed;
  const key = `${body.TableName} ${(body.Item ?? body.Key)?.eventId?.S}`;
  const second = Math.floor(Date.now() / 1000);
  const seconds = hottest.get(key) ?? new Map();
  seconds.set(second, (seconds.get(second) ?? 0) + 1);
  hottest.set(key, seconds);
}

function countRead(body, bytes) {
  usage.reads += 1;
  usage.readUnits += Math.max(1, Math.ceil(bytes / 4096)) * (body.ConsistentRead ? 1 : 0.5);
}

const server = dynalite({ createTableMs: 0 });
server.keepAliveTimeout = 600_000;
const [serve] = server.listeners("request");
server.removeAllListeners("request");
server.on("request", (request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const bytes = Buffer.concat(chunks);
    const operation = String(request.headers["x-amz-target"]).split(".")[1];
    const body = parsed(bytes);
    const refusal = refusalOf(request, operation, body);
    if (refusal !== undefined) {
      response.writeHead(400, { "content-type": "application/x-amz-json-1.0" });
      response.end(JSON.stringify({ __type: "com.amazon.coral.service#AccessDeniedException", Message: refusal }));
      return;
    }
    meter(operation, body, response);
    const { headers, method, url } = request;
    serve(Object.assign(Readable.from([bytes]), { headers, method, url }), response);
  });
});

function parsed(bytes) {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return {};
  }
}

/** Source: DynamoDB, "Using IAM with DynamoDB"; an index has a resource of its own, which no function is granted. */
function refusalOf(request, operation, { IndexName, TableName }) {
  const caller = /Credential=([^/,]+)\//.exec(request.headers.authorization ?? "")?.[1] ?? "";
  const resource = IndexName === undefined ? TableName : `${TableName}/index/${IndexName}`;
  return !callers.has(caller) || allowed.has(`${caller} ${operation} ${resource}`)
    ? undefined
    : `User: ${caller} is not authorized to perform: dynamodb:${operation} on resource: ${resource}`;
}

function meter(operation, body, response) {
  if (!WRITES.has(operation) && !READS.has(operation)) return;
  const end = response.end.bind(response);
  response.end = (text, ...rest) => {
    if (WRITES.has(operation)) countWrite(body, JSON.stringify(body.Item ?? "").length);
    else countRead(body, String(text ?? "").length);
    return end(text, ...rest);
  };
}

process.on("message", (command) => {
  if (command.grants !== undefined) {
    callers = new Set(command.callers);
    allowed = new Set(
      command.grants.map(({ caller, action, resource }) => `${caller} ${action.replace("dynamodb:", "")} ${resource}`),
    );
    server.listen(0, "127.0.0.1", () => process.send({ port: server.address().port }));
    return;
  }
  if (command === "reset") reset();
  let top = { key: "", writesPerSecond: 0 };
  for (const [key, seconds] of hottest) {
    const most = Math.max(...seconds.values());
    if (most > top.writesPerSecond) top = { key, writesPerSecond: most };
  }
  process.send({ ...usage, hottestItem: top.key, hottestItemWritesPerSecond: top.writesPerSecond });
});
process.on("disconnect", () => process.exit(0));
