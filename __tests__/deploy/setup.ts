import { installSimulators } from "../../tools/cloud/simulators";

/** Once before the suite, and not once in each of its files. */
export function setup(): void {
  installSimulators((line) => console.info(line));
}
