// One Lambda environment: loads the unzipped package and serves one event at a time. Plain JavaScript, because a worker thread
// has no loader for TypeScript; everything else that Lambda's own runtime does is in lambda.ts.
import { createRequire } from "node:module";
import { parentPort, workerData } from "node:worker_threads";

const [file, name] = workerData.handler.split(".");
const load = createRequire(`${workerData.directory}/`);

let handler;
let loadError;
try {
  handler = load(`./${file}.js`)[name];
} catch (error) {
  loadError = error;
}

parentPort.on("message", async ({ id, event, deadline, requestId }) => {
  try {
    if (loadError) throw loadError;
    const context = {
      functionName: workerData.functionName,
      functionVersion: "$LATEST",
      memoryLimitInMB: String(workerData.memoryMib),
      awsRequestId: requestId,
      invokedFunctionArn: `arn:aws:lambda:local:000000000000:function:${workerData.functionName}`,
      callbackWaitsForEmptyEventLoop: true,
      getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
    };
    // Lambda hands over JSON and takes JSON.
    const result = await handler(JSON.parse(event), context);
    parentPort.postMessage({ id, result: JSON.stringify(result ?? null) });
  } catch (error) {
    parentPort.postMessage({ id, error: { name: error?.name, message: error?.message, stack: error?.stack } });
  }
});
