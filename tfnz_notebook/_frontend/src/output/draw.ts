// Runs of text as nodes: the page is only ever given text, and styles made of numbers.
import { type Colour, PLAIN, type Style, visible } from "./ansi.js";
import { type Run, alike } from "./pen.js";

const CUBE = [0, 95, 135, 175, 215, 255];
/** The sixteen colours as backgrounds, and upon such: as they are everywhere, whatever the theme. */
const FIXED = [
  "#1c1f24", "#c62828", "#1a7f37", "#9a6700", "#0a5bc4", "#8e3fae", "#0f7680", "#d0d7de",
  "#57606a", "#ff7b72", "#56d364", "#f2cc60", "#79b8ff", "#d2a8ff", "#56d4dd", "#ffffff",
];

function rgb(colour: number | string): string {
  if (typeof colour === "string") return colour;
  if (colour < 16) return FIXED[colour] as string;
  const parts = colour >= 232
    ? Array<number>(3).fill(8 + 10 * (colour - 232))
    : [36, 6, 1].map((place) => CUBE[Math.floor((colour - 16) / place) % 6] as number);
  return `#${parts.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}

/** Black or white, whichever reads on it. */
function upon(background: string): string {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(background.slice(at, at + 2), 16)) as [number, number, number];
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#111" : "#fff";
}

function colours(style: Style): [fg: string, bg: string] {
  let fg: Colour = style.fg;
  let bg: Colour = style.bg;
  if (style.inverse) {
    if (fg === undefined && bg === undefined) return ["var(--tfnz-bg)", "var(--tfnz-fg)"];
    [fg, bg] = [bg, fg];
    if (bg === undefined) return [rgb(fg as number | string), "var(--tfnz-fg)"];
  }
  if (bg !== undefined) return [fg === undefined ? upon(rgb(bg)) : rgb(fg), rgb(bg)];
  if (typeof fg === "number" && fg < 16) return [`var(--tfnz-a${fg})`, ""];
  return [fg === undefined ? "" : rgb(fg), ""];
}

/** Appends runs as text nodes and spans. */
export function draw(parent: HTMLElement, runs: readonly Run[]): void {
  for (let i = 0; i < runs.length; ) {
    const { style } = runs[i] as Run;
    let text = "";
    for (; i < runs.length && alike((runs[i] as Run).style, style); i += 1) text += (runs[i] as Run).text;
    text = visible(text);
    if (!alike(style, PLAIN)) {
      parent.append(span(text, style));
    } else if (parent.lastChild?.nodeType === Node.TEXT_NODE) {
      (parent.lastChild as Text).appendData(text);
    } else {
      parent.append(text);
    }
  }
}

function span(text: string, style: Style): HTMLElement {
  const el = document.createElement("span");
  el.textContent = text;
  const [fg, bg] = colours(style);
  if (style.hidden) el.style.color = "transparent";
  else if (fg) el.style.color = fg;
  if (bg) el.style.backgroundColor = bg;
  if (style.bold) el.style.fontWeight = "bold";
  if (style.dim) el.style.opacity = "0.7";
  if (style.italic) el.style.fontStyle = "italic";
  const lines = [style.underline && "underline", style.strike && "line-through"].filter(Boolean).join(" ");
  if (lines) el.style.textDecoration = lines;
  return el;
}
