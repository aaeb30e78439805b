import { expiring, LAST_REVIEW, PINNED_VERSIONS } from "../../lib/life-cycle";

/**
 * `npm run lifecycle`: says which pinned versions lose support soon, counted from today. Exit code 1 if there is one. With
 * `--json`, one object on one line.
 */
function main(args: readonly string[]): number {
  const today = new Date().toISOString().slice(0, 10);
  const soon = expiring(today);
  if (args.includes("--json")) {
    process.stdout.write(`${JSON.stringify({ today, lastReview: LAST_REVIEW, expiring: soon })}\n`);
    return soon.length > 0 ? 1 : 0;
  }
  const width = Math.max(...PINNED_VERSIONS.map(({ product }) => product.length));
  for (const { product, version, endOfSupport, accepted } of PINNED_VERSIONS) {
    const note = accepted === undefined ? "" : `  (accepted: ${accepted})`;
    process.stdout.write(
      `${product.padEnd(width)}  ${version.padEnd(12)}${endOfSupport ?? "no end announced"}${note}\n`,
    );
  }
  process.stdout.write(`last review ${LAST_REVIEW}, today ${today}\n`);
  for (const { product, version, daysLeft, source } of soon) {
    const when = daysLeft < 0 ? `lost support ${-daysLeft} days ago` : `loses support in ${daysLeft} days`;
    process.stderr.write(`${product} ${version} ${when}. Choose the next version from: ${source}.\n`);
  }
  return soon.length > 0 ? 1 : 0;
}

process.exitCode = main(process.argv.slice(2));
