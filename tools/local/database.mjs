// dynalite in a process of its own, so that it does not share a core with what calls it, and with a meter on its wire: capacity
// units as DynamoDB would count them, and writes per partition key and second. Ends with its parent.
import dynalite from "dynalite";

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
server.prependListener("request", (request, response) => {
  const operation = String(request.headers["x-amz-target"]).split(".")[1];
  if (!WRITES.has(operation) && !READS.has(operation)) return;
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  const end = response.end.bind(response);
  response.end = (text, ...rest) => {
    try {
      const body = JSON.parse(Buffer.concat(chunks).toString());
      if (WRITES.has(operation)) countWrite(body, JSON.stringify(body.Item ?? "").length);
      else countRead(body, String(text ?? "").length);
    } catch {
      // A request that cannot be read was refused and costs nothing.
    }
    return end(text, ...rest);
  };
});

process.on("message", (command) => {
  if (command === "reset") reset();
  let top = { key: "", writesPerSecond: 0 };
  for (const [key, seconds] of hottest) {
    const most = Math.max(...seconds.values());
    if (most > top.writesPerSecond) top = { key, writesPerSecond: most };
  }
  process.send({ ...usage, hottestItem: top.key, hottestItemWritesPerSecond: top.writesPerSecond });
});
process.on("disconnect", () => process.exit(0));
server.listen(0, "127.0.0.1", () => process.send({ port: server.address().port }));
