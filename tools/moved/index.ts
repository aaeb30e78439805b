import { readFileSync } from "node:fs";
import { givenFile } from "../terraform/given-file";
import { match, readResources, withoutKey } from "./match";

const USAGE = `moved: give a state and a plan, both as JSON:

  terraform state pull > state.json            # in the old configuration
  npm run -s plan:offline -- prod > plan.json  # what these stacks would create
  npm run -s moved -- state.json plan.json > cdktf.out/stacks/prod/moved.tf.json
`;

/** Prints `moved` and `removed` blocks on standard output and what is left to decide on standard error. Exits 1 if something is at risk. */
function main(args: readonly string[]): number {
  const [stateFile, planFile, ...others] = args;
  if (stateFile === undefined || planFile === undefined || others.length > 0) {
    process.stderr.write(USAGE);
    return 2;
  }
  try {
    const result = match(read(stateFile), read(planFile));
    // A `removed` block names a resource with all its instances.
    const released = [...new Set(result.released.map(withoutKey))];
    const removed = released.map((from) => ({ from, lifecycle: { destroy: false } }));
    process.stdout.write(`${JSON.stringify({ moved: result.moves, removed }, null, 2)}\n`);
    const say = (line: string) => process.stderr.write(`${line}\n`);
    say(`${result.same.length} resources keep their address, ${result.moves.length} are moved.`);
    for (const { candidates, from } of result.ambiguous) say(`decide: ${from} could be ${candidates.join(" or ")}`);
    for (const address of result.onlyInState) say(`only in the state, the next apply destroys it: ${address}`);
    for (const address of result.released)
      say(`only in the state, left in AWS because others use it, delete it by hand later: ${address}`);
    for (const address of result.displaced)
      say(
        `only in the state, but the code has another resource there: terraform state rm '${address}', delete it by hand later`,
      );
    say(`${result.onlyInPlan.length} resources are new.`);
    for (const address of result.atRisk)
      say(`at risk: ${address} holds data, a secret or an address; give it a place before you apply.`);
    for (const { address, exists, planned } of result.renamed)
      say(
        `at risk: ${address} is described as "${exists}", the code says "${planned}"; AWS never changes that, so write the first into the module.`,
      );
    return result.atRisk.length + result.renamed.length > 0 ? 1 : 0;
  } catch (error) {
    process.stderr.write(`moved: ${error instanceof Error ? error.message : error}\n`);
    return 2;
  }
}

function read(file: string) {
  try {
    return readResources(JSON.parse(readFileSync(givenFile(file), "utf8")));
  } catch (error) {
    const hint = "give what `terraform state pull` or `terraform show -json PLANFILE` prints";
    throw new Error(`${file}: ${error instanceof Error ? error.message : error}; ${hint}`);
  }
}

process.exitCode = main(process.argv.slice(2));
