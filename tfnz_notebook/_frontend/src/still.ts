// What stays of a view: its rows as HTML that needs no page, and as text. widgets/saved/frozen.py makes the same where no
// page is, of the templates that the hub brings; tests/vectors/stills.json holds both to one HTML.
//
// All of it is escaped but the templates, and numbers.
import { type Colour, type Style, visible } from "./output/ansi.js";
import type { Run } from "./output/pen.js";
import { duration, size } from "./text/numbers.js";
import { columns } from "./text/widths.js";
import { type ProcessInfo, ending } from "./text/words.js";

export interface Row {
  spans: readonly Run[];
  stderr?: boolean;
}

/** Of a view: `above` bytes before the rows, `gone` of them dropped; `used` rows, of a terminal. */
export interface Still {
  rows: readonly Row[];
  above: number;
  gone?: number;
  tall: number;
  used?: number;
  /** What it is called, in the status line, and in the line of text below. */
  title: string;
  called: string;
  state: string;
  words: string;
  facts: string;
}

export type Templates = Record<string, string>;

const TEXT = { lines: 200, size: 16 << 10 };
export const LINES = 2500;
const HTML = { lines: LINES, size: 56 << 10 };
const CUBE = [0, 95, 135, 175, 215, 255];
/** The sixteen colours, readable on both grounds; those upon and behind others are fixed. */
const PALETTE = [
  "#6b6b6b", "#d33f3f", "#2e8b3d", "#a97a00", "#3b78d8", "#a94fc4", "#138a96", "#8c8c8c",
  "#8a8a8a", "#ef5350", "#3fa34d", "#c79100", "#5b93f0", "#c06bd8", "#26a5b5", "#a8a8a8",
];
export const FIXED = [
  "#000000", "#c62828", "#1a7f37", "#9a6700", "#0a5bc4", "#8e3fae", "#0f7680", "#d0d7de",
  "#57606a", "#ff7b72", "#56d364", "#f2cc60", "#79b8ff", "#d2a8ff", "#56d4dd", "#ffffff",
];
const INK = "var(--jp-content-font-color1,inherit)";

/** A view's word on what it shows; page.ts asks. */
export interface Seen {
  /** Whether that is all there is to show. */
  current(): boolean;
  take(): Still;
}

const encoder = new TextEncoder();
const bytes = (text: string): number => encoder.encode(text).length;

/** A colour beyond the sixteen. */
export function rgb(colour: number | string): string {
  if (typeof colour === "string") return colour;
  const parts = colour >= 232
    ? Array<number>(3).fill(8 + 10 * (colour - 232))
    : [36, 6, 1].map((place) => CUBE[Math.floor((colour - 16) / place) % 6] as number);
  return `#${parts.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}

const fixed = (colour: number | string): string =>
  typeof colour === "number" && colour < 16 ? (FIXED[colour] as string) : rgb(colour);

/** Black or white, whichever reads on it. */
export function upon(background: string): string {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(background.slice(at, at + 2), 16)) as [number, number, number];
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#111" : "#fff";
}

/** What is of the page around is named: text and ground. */
export function colours(style: Style, ground: string, ink: string): [fg: Colour, bg: string] {
  let { fg, bg } = style;
  if (style.inverse) {
    if (fg === undefined && bg === undefined) return [ground, ink];
    [fg, bg] = [bg, fg];
    if (bg === undefined) return [fixed(fg as number | string), ink];
  }
  if (bg !== undefined) return [fg === undefined ? upon(fixed(bg)) : fixed(fg), fixed(bg)];
  return [fg === undefined || (typeof fg === "number" && fg < 16) ? fg : rgb(fg), ""];
}

export const escaped = (text: string): string =>
  text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const quoted = (text: string): string => escaped(text).replace(/"/g, "&quot;").replace(/'/g, "&#x27;");

function fill(template: string | undefined, parts: Record<string, string | number>): string {
  return (template ?? "").replace(/\{(\w+)\}/g, (_all, name: string) => String(parts[name] ?? ""));
}

function span({ text, style }: Run): string {
  const [fg, bg] = colours(style, "#fff;color:var(--jp-layout-color1,#fff)", `#555;background:${INK}`);
  const own = typeof fg === "number" && !style.hidden ? ` class="tfnz-a${fg}"` : "";
  const ink = typeof fg === "number" ? PALETTE[fg] : fg;
  const under = [style.underline && "underline", style.strike && "line-through"].filter(Boolean).join(" ");
  const rules = [
    style.hidden ? "color:transparent" : ink && `color:${ink}`,
    bg && `background:${bg}`,
    style.bold && "font-weight:bold",
    style.dim && "opacity:.7",
    style.italic && "font-style:italic",
    under && `text-decoration:${under}`,
  ].filter(Boolean);
  return rules.length > 0 ? `<span${own} style="${rules.join(";")}">${escaped(text)}</span>` : escaped(text);
}

const length = ({ spans }: Row): number => spans.reduce((sum, { text }) => sum + [...text].length, 1);
const above = (before: number, gone: number): string =>
  gone > 0
    ? `${size(before)} above, the first ${size(gone)} of it dropped: process.log() has the rest`
    : `${size(before)} above: process.log() has all of it`;

/** What of a text fits in so many columns; with an ellipsis, if that is not all. */
export function clip(text: string, most: number): string {
  const all = [...text];
  const ends: number[] = [];
  let width = 0;
  for (const each of all.slice(0, 4 * most + 1)) ends.push((width += columns(each.codePointAt(0) as number)));
  if (width <= most && all.length <= 4 * most) return text;
  const end = ends.findIndex((each) => each >= most);
  return `${all.slice(0, end < 0 ? 4 * most : end).join("")}\u2026`;
}

/** What a process's still says of it: it is read later, when nothing ticks. */
export function told(info: ProcessInfo, bytes: number): Pick<Still, "title" | "called" | "state" | "words" | "facts"> {
  const title = clip((info.command ?? "").split(/\s+/).filter(Boolean).join(" "), 200);
  const called = visible(`${title} in ${info.container ?? ""}`);
  const written = size(Math.max(info.out + info.err, bytes));
  if (info.state === "starting" || info.state === "running") {
    return { title, called, state: "starting", words: `${info.state} when last seen`, facts: written };
  }
  const { text, ok } = ending(info);
  const facts = [info.ran === null ? "" : duration(info.ran), written].filter(Boolean).join(" \u00b7 ");
  return { title, called, state: ok ? "ok" : "bad", words: text, facts };
}

/** As text. */
export function plain(still: Still): string {
  const { rows } = still;
  const kept: string[] = [];
  let taken = 0;
  for (const row of rows.slice(-TEXT.lines).reverse()) {
    taken += length(row);
    if (taken > TEXT.size && kept.length > 0) break;
    kept.push(row.spans.map(({ text }) => text).join("").slice(0, TEXT.size));
  }
  const before = still.above + rows.slice(0, rows.length - kept.length).reduce((sum, row) => sum + length(row), 0);
  const head = before > 0 ? [`[${above(before, still.gone ?? 0)}]`] : [];
  const status = [still.words, still.facts].filter(Boolean).join(" · ");
  return [...head, ...kept.reverse(), `[${still.called} · ${status}]`].join("\n");
}

/** As HTML. */
export function markup(still: Still, templates: Templates): string {
  const { rows, tall, used } = still;
  const edge = bytes(templates["stderr"] ?? "");
  const kept: Row[] = [];
  let room = HTML.size;
  for (const row of rows.slice(-HTML.lines).reverse()) {
    room -= bytes(row.spans.map(span).join("")) + (row.stderr && kept.length > 0 && !kept[kept.length - 1]!.stderr ? edge : 1);
    if (room < 0) {
      if (kept.length === 0) kept.push(end(row));
      break;
    }
    kept.push(row);
  }
  const sum = (some: readonly Row[]): number => some.reduce((all, row) => all + length(row), 0);
  const before = still.above + sum(rows) - sum(kept);
  kept.reverse();
  let inside = before > 0 ? fill(templates["above"], { above: quoted(above(before, still.gone ?? 0)) }) : "";
  if (kept.length > 0 || used) {
    let blocks = "";
    for (let at = 0; at < kept.length; ) {
      const { stderr = false } = kept[at]!;
      let lines = "";
      for (; at < kept.length && (kept[at]!.stderr ?? false) === stderr; at += 1) lines += `${kept[at]!.spans.map(span).join("")}\n`;
      blocks += stderr ? fill(templates["stderr"], { lines }) : lines;
    }
    if (blocks.startsWith("\n")) blocks = `\n${blocks}`; // one right after <pre> is not part of it
    const spare = before > 0 ? 8 - 19 : 8;
    const [kind, each] = used === undefined ? ["lines", 18] : ["screen", 15];
    inside += fill(templates[kind as string], {
      tall, room: spare, most: tall * (each as number) + spare, least: Math.min(used ?? 0, tall), blocks,
    });
  }
  const [title, words, facts] = [still.title, still.words, still.facts].map((text) => quoted(visible(text)));
  inside += fill(templates[`bar-${still.state}`], { title: title!, words: words!, facts: facts! });
  return fill(templates["frame"], { inside });
}

/** Of a line's end what fits. */
function end(row: Row): Row {
  let room = HTML.size / 8;
  const kept: Run[] = [];
  for (const each of [...row.spans].reverse()) {
    const characters = [...each.text];
    room -= 16 + characters.length;
    if (room < 0) {
      kept.push({ ...each, text: characters.slice(-(16 + characters.length + room)).join("") });
      break;
    }
    kept.push(each);
  }
  return { ...row, spans: kept.reverse() };
}
