// Runs of text as nodes: the page is only ever given text, and styles made of numbers.
import { colours } from "../still.js";
import { PLAIN, type Style, visible } from "./ansi.js";
import { type Run, alike } from "./pen.js";

/** How the spans of a page look, for who reads them again. */
const styles = new WeakMap<Element, Style>();

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
  styles.set(el, style);
  const [fg, bg] = colours(style, "var(--tfnz-bg)", "var(--tfnz-fg)");
  if (style.hidden) el.style.color = "transparent";
  else if (fg !== undefined) el.style.color = typeof fg === "number" ? `var(--tfnz-a${fg})` : fg;
  if (bg) el.style.backgroundColor = bg;
  if (style.bold) el.style.fontWeight = "bold";
  if (style.dim) el.style.opacity = "0.7";
  if (style.italic) el.style.fontStyle = "italic";
  const lines = [style.underline && "underline", style.strike && "line-through"].filter(Boolean).join(" ");
  if (lines) el.style.textDecoration = lines;
  return el;
}

/** The runs that were drawn into it, in lines. */
export function* drawn(parent: Element): Iterable<Run[]> {
  let line: Run[] = [];
  for (const node of leaves(parent)) {
    const style = (node.parentElement && styles.get(node.parentElement)) ?? PLAIN;
    const pieces = (node.textContent ?? "").split("\n");
    for (const [index, text] of pieces.entries()) {
      if (index > 0) {
        yield line;
        line = [];
      }
      if (text) line.push({ text, style });
    }
  }
  if (line.length > 0) yield line;
}

function* leaves(parent: Node): Iterable<Node & { parentElement: Element | null }> {
  for (const child of parent.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) yield child as Node & { parentElement: Element | null };
    else yield* leaves(child);
  }
}
