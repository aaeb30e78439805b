const ESCAPE = "\u001b[";
const COLOURS: Readonly<Record<string, string>> = { "+": "32", "-": "31", "!": "33", "#": "2" };

const paint = (colours: string, text: string): string => `${ESCAPE}${colours}m${text}${ESCAPE}0m`;

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', nbsp: " " };

const unescaped = (text: string): string =>
  text.replace(/&(?:#(\d{1,7})|(\w+));/g, (whole, number: string | undefined, name: string | undefined) => {
    if (number !== undefined) {
      const point = Number(number);
      return point === 8203 || point < 32 || point > 0x10ffff || (point >= 127 && point < 160)
        ? ""
        : String.fromCodePoint(point);
    }
    return ENTITIES[name ?? ""] ?? whole;
  });

/** Inline Markdown and HTML as this renderer writes it, without its signs. */
const inline = (text: string): string =>
  unescaped(
    text
      .replace(/<\/?(?:sub|details|summary)[^>]*>|<br>/g, "")
      .replace(/<code>([^<]*)<\/code>/g, (_, inner: string) => paint("36", inner))
      .replace(/`([^`]+)`/g, (_, inner: string) => paint("36", inner))
      .replace(/\*\*([^*]+)\*\*/g, (_, inner: string) => paint("1", inner)),
  );

/** A rendered comment for a terminal: the same words in the same order, folds opened, colours instead of marks. */
export function toAnsi(markdown: string): string {
  const lines: string[] = [];
  let ending: string | undefined;
  let language = "";
  let widths: readonly number[] = [];
  const source = markdown.split("\n");
  source.forEach((line, index) => {
    const ticks = /^(`{3,})(\w*)$/.exec(line);
    if (ending !== undefined) {
      if (line === ending) ending = undefined;
      else
        lines.push(
          `  ${language === "diff" && COLOURS[line.charAt(0)] ? paint(COLOURS[line.charAt(0)] ?? "0", line) : line}`,
        );
      return;
    }
    if (ticks) {
      ending = ticks[1];
      language = ticks[2] ?? "";
      return;
    }
    if (/^<!--.*-->$/.test(line) || line === "</details>" || /^\|[:|-]+\|$/.test(line)) return;
    const heading = /^(#{2,3}) (.*)$/.exec(line);
    if (heading) {
      lines.push(paint(heading[1] === "##" ? "1;4" : "1", inline(heading[2] ?? "")));
      return;
    }
    const alerted = /^> \[!(\w+)\]$/.exec(line);
    if (alerted) {
      lines.push(paint(alerted[1] === "CAUTION" ? "1;31" : "1;33", alerted[1] ?? ""));
      return;
    }
    if (line.startsWith("|")) {
      if (!source[index - 1]?.startsWith("|")) widths = columnWidths(source, index);
      lines.push(
        cells(line)
          .map((text, column) => text + " ".repeat(Math.max(0, (widths[column] ?? 0) - width(text))))
          .join("  ")
          .trimEnd(),
      );
      return;
    }
    lines.push(line === "---" ? paint("2", "─".repeat(60)) : inline(line.replace(/^> ?/, "  ")));
  });
  return `${lines
    .join("\n")
    .replace(/\n{3,}/g, "\n\n")
    .trim()}\n`;
}

const cells = (line: string): readonly string[] => line.slice(2, -2).split(" | ").map(inline);

// biome-ignore lint/suspicious/noControlCharactersInRegex: colours take no room
const width = (text: string): number => [...text.replace(/\u001b\[[\d;]*m/g, "")].length;

function columnWidths(source: readonly string[], start: number): readonly number[] {
  const widths: number[] = [];
  for (let index = start; source[index]?.startsWith("|"); index++) {
    if (/^\|[:|-]+\|$/.test(source[index] ?? "")) continue;
    cells(source[index] ?? "").forEach((text, column) => {
      widths[column] = Math.max(widths[column] ?? 0, width(text));
    });
  }
  return widths;
}
