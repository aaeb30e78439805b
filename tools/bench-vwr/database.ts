import type { AddressInfo } from "node:net";
import dynalite from "dynalite";

/** dynalite in a process of its own, so that it does not share a core with what is measured. Tells its port, ends with its parent. */
const server = dynalite({ createTableMs: 0 });
// Designs are measured in turns: a connection that idles meanwhile must not be closed under the call that uses it next.
server.keepAliveTimeout = 600_000;
server.listen(0, "127.0.0.1", () => process.send?.((server.address() as AddressInfo).port));
process.on("disconnect", () => process.exit(0));
