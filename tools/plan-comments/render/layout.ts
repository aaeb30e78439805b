import { bodyBytes } from "./markdown";

/** A piece of a comment that is never cut, in versions of falling length: the last is short whatever happens. */
export interface Block {
  readonly versions: readonly (() => string)[];
}

export interface Section {
  /** Markdown heading; repeated where a section goes on in the next part. */
  readonly heading?: string;
  readonly blocks: readonly Block[];
}

export interface Frame {
  /** First lines of a part: its marker and title. */
  readonly opening: (part: number, parts: number) => string;
  /** Last lines of a part. */
  readonly closing: (part: number, parts: number) => string;
  /** Said where details were left out. */
  readonly shortened: string;
  /** Said where even addresses were left out, with how many pieces. */
  readonly cut: (pieces: number) => string;
}

/** GitHub refuses bodies over 65,536 characters; this leaves room for how it counts. */
export const BODY_BUDGET = 60_000;

/** More comments than this nobody reads. */
const MOST_PARTS = 8;

/** Details are worth this many comments; beyond it, addresses have to do. */
const MOST_DETAILED_PARTS = 3;

export const block = (...versions: readonly (() => string)[]): Block => ({ versions });

export const fixed = (text: string): Block => ({ versions: [() => text] });

/** All of it, however long. */
export function inFull(sections: readonly Section[], frame: Frame): string {
  const parts = packed(sections, 0, Number.POSITIVE_INFINITY, frame);
  return bodies(parts, frame, false).join("\n\n");
}

/**
 * Fits sections into bodies under the budget: everything in one body, or else details left out until one body holds it,
 * or else several numbered bodies without the details, and only then a loud cut.
 */
export function fitted(
  sections: readonly Section[],
  frame: Frame,
  budget = BODY_BUDGET,
  mostParts = MOST_PARTS,
): readonly string[] {
  const whole = packed(sections, 0, budget, frame, 1);
  if (whole.length === 1) return bodies(whole, frame, false);
  const brief = packed(sections, 2, budget, frame);
  const detailed = brief.length > MOST_DETAILED_PARTS ? brief : packed(sections, 1, budget, frame, MOST_DETAILED_PARTS);
  if (detailed.length === 1) return bodies(detailed, frame, true);
  const best = brief.length > 1 && detailed.length <= MOST_DETAILED_PARTS ? detailed : brief;
  if (best.length <= mostParts) return bodies(best, frame, true);
  const kept = best.slice(0, mostParts);
  const lost = best.slice(mostParts).flat().length;
  kept[mostParts - 1]?.push(frame.cut(lost));
  return bodies(kept, frame, true);
}

function bodies(parts: readonly (readonly string[])[], frame: Frame, shortened: boolean): readonly string[] {
  return parts.map((texts, index) =>
    joined(
      [
        frame.opening(index + 1, parts.length),
        ...(shortened && index === 0 ? [frame.shortened] : []),
        ...texts,
        frame.closing(index + 1, parts.length),
      ].filter((text) => text !== ""),
    ),
  );
}

/** Neighbouring list items stay one list. */
const joined = (texts: readonly string[]): string =>
  texts.reduce((all, text, index) => {
    const listed = text.startsWith("- ") && (texts[index - 1] ?? "").startsWith("- ");
    return index === 0 ? text : `${all}${listed ? "\n" : "\n\n"}${text}`;
  }, "");

/** Stops early, with one part more, as soon as there are more than `enough`. */
function packed(
  sections: readonly Section[],
  level: number,
  budget: number,
  frame: Frame,
  enough = Number.POSITIVE_INFINITY,
): string[][] {
  const overhead =
    bodyBytes(frame.opening(1, 99)) +
    bodyBytes(frame.closing(1, 99)) +
    bodyBytes(frame.shortened) +
    bodyBytes(frame.cut(9_999_999)) +
    64;
  const room = budget - overhead;
  const parts: string[][] = [[]];
  let used = 0;
  const add = (text: string, bytes: number) => {
    parts.at(-1)?.push(text);
    used += bytes;
  };
  for (const section of sections) {
    let headed = false;
    for (const piece of section.blocks) {
      const heading = headed || section.heading === undefined ? "" : section.heading;
      let [text, bytes] = at(piece, level);
      for (
        let lower = level + 1;
        bytes + bodyBytes(section.heading ?? "") > room && lower < piece.versions.length;
        lower++
      ) {
        [text, bytes] = at(piece, lower);
      }
      const headingBytes = heading === "" ? 0 : bodyBytes(heading) + 4;
      if (used > 0 && used + bytes + headingBytes > room) {
        parts.push([]);
        if (parts.length > enough) return parts;
        used = 0;
        if (section.heading !== undefined) {
          const again = headed ? `${section.heading} (continued)` : section.heading;
          add(again, bodyBytes(again) + 4);
        }
      } else if (heading !== "") add(heading, headingBytes);
      headed = true;
      add(text, bytes);
    }
  }
  return parts;
}

function at(piece: Block, level: number): [string, number] {
  const make = piece.versions[Math.min(level, piece.versions.length - 1)];
  const text = make ? make() : "";
  return [text, bodyBytes(text) + 4];
}
