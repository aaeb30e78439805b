import type { LoadResult } from "./measure";

const WIDTH = 860;
const HEIGHT = 340;
const MARGIN = { top: 56, right: 28, bottom: 46, left: 68 };
const INK = "#1b2436";
const SOFT = "#545f76";

/** Places given and visitors let in over time, summed up, as an SVG that reads on light and dark pages alike. */
export function loadPlot(result: LoadResult): string {
  const sums = cumulative(result);
  const seconds = Math.max(1, sums.length - 1);
  const x = (second: number) => MARGIN.left + (second / seconds) * (WIDTH - MARGIN.left - MARGIN.right);
  const y = (count: number) =>
    HEIGHT - MARGIN.bottom - (count / result.visitors) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const line = (pick: (sum: (typeof sums)[number]) => number) =>
    sums
      .map((sum, second) => `${second === 0 ? "M" : "L"}${x(second).toFixed(1)} ${y(pick(sum)).toFixed(1)}`)
      .join(" ");
  const area = `${line(({ assigned }) => assigned)} ${[...sums]
    .map((sum, second) => ({ sum, second }))
    .reverse()
    .map(({ sum, second }) => `L${x(second).toFixed(1)} ${y(sum.admitted).toFixed(1)}`)
    .join(" ")} Z`;
  const yTicks = [0, 0.25, 0.5, 0.75, 1].map((share) => Math.round(share * result.visitors));
  const step = Math.max(1, Math.ceil(seconds / 8 / 5) * 5);
  const xTicks = Array.from({ length: Math.floor(seconds / step) + 1 }, (_, index) => index * step);
  const text = (at: { x: number; y: number; anchor?: string; color?: string; weight?: number }, content: string) =>
    `<text x="${at.x.toFixed(1)}" y="${at.y.toFixed(1)}" text-anchor="${at.anchor ?? "start"}" fill="${at.color ?? SOFT}" font-weight="${at.weight ?? 400}">${content}</text>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-labelledby="title" font-family="system-ui, sans-serif" font-size="13">
<title id="title">${whole(result.visitors)} visitors: places given and visitors let in over ${seconds} seconds</title>
<rect width="${WIDTH}" height="${HEIGHT}" rx="12" fill="#ffffff"/>
${text({ x: MARGIN.left, y: 26, color: INK, weight: 600 }, `${whole(result.visitors)} visitors through the local run, ${whole(result.rate)} let in per 10 s`)}
${text({ x: MARGIN.left, y: 44, color: "#2f5bd7" }, "&#9632; places given")}
${text({ x: MARGIN.left + 120, y: 44, color: "#16825d" }, "&#9632; let in")}
${text({ x: MARGIN.left + 200, y: 44, color: SOFT }, "between them: waiting")}
${yTicks.map((tick) => `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y(tick).toFixed(1)}" y2="${y(tick).toFixed(1)}" stroke="#e4e8f0"/>${text({ x: MARGIN.left - 10, y: y(tick) + 4, anchor: "end" }, whole(tick))}`).join("\n")}
${xTicks.map((tick) => text({ x: x(tick), y: HEIGHT - MARGIN.bottom + 22, anchor: "middle" }, `${tick} s`)).join("\n")}
<path d="${area}" fill="#2f5bd7" fill-opacity="0.08"/>
<path d="${line(({ assigned }) => assigned)}" fill="none" stroke="#2f5bd7" stroke-width="2.5" stroke-linejoin="round"/>
<path d="${line(({ admitted }) => admitted)}" fill="none" stroke="#16825d" stroke-width="2.5" stroke-linejoin="round"/>
</svg>
`;
}

function cumulative({ timeline }: LoadResult): { assigned: number; admitted: number }[] {
  let assigned = 0;
  let admitted = 0;
  const sums = [{ assigned, admitted }];
  for (const second of timeline) {
    assigned += second.assigned;
    admitted += second.admitted;
    sums.push({ assigned, admitted });
  }
  return sums;
}

function whole(value: number): string {
  return new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 }).format(value);
}
