// The line that a stream is writing: runs of text that look alike, and where the next character goes.
import { PLAIN, type Style } from "./ansi.js";

export interface Run {
  text: string;
  style: Style;
}

const TAB = 8;
/** Where the cursor can go beyond what is there. */
const WIDEST = 4096;
/** A line written over and over in ever other colours loses them: each overwriting copies its runs. */
const MOST_RUNS = 256;

export class Pen {
  runs: Run[] = [];
  length = 0;
  private at = 0;

  write(text: string, style: Style): void {
    if (this.at > this.length) this.append(" ".repeat(this.at - this.length), PLAIN);
    if (this.at === this.length) this.append(text, style);
    else {
      const before = this.slice(0, this.at);
      const after = this.slice(this.at + text.length, this.length);
      this.set([...before, { text, style }, ...after]);
    }
    this.at += text.length;
  }

  home(): void {
    this.at = 0;
  }

  back(): void {
    this.at = Math.max(0, this.at - 1);
  }

  /** To a column, counted from 1. */
  column(number: number): void {
    this.at = Math.min(Math.max(0, number - 1), WIDEST);
  }

  /** At the end a real tab, which stays one when it is copied; else over what is there. */
  tab(style: Style): void {
    if (this.at === this.length) this.write("\t", style);
    else this.at = Math.min(this.at + TAB - (this.at % TAB), this.length);
  }

  /** 0: to the line's end; 1: up to here; 2: all of it. */
  erase(how: number): void {
    const kept = how === 0 ? this.slice(0, this.at) : [];
    const blank = how === 1 ? Math.min(this.at + 1, this.length) : 0;
    if (blank > 0) kept.push({ text: " ".repeat(blank), style: PLAIN }, ...this.slice(blank, this.length));
    this.set(kept);
  }

  /** The whole line; begins the next. */
  take(): Run[] {
    const { runs } = this;
    this.runs = [];
    this.length = this.at = 0;
    return runs;
  }

  private append(text: string, style: Style): void {
    const last = this.runs[this.runs.length - 1];
    if (last && alike(last.style, style)) last.text += text;
    else this.runs.push({ text, style });
    this.length += text.length;
  }

  private set(runs: Run[]): void {
    this.runs = [];
    this.length = 0;
    for (const { text, style } of runs) if (text) this.append(text, runs.length > MOST_RUNS ? PLAIN : style);
  }

  private slice(from: number, to: number): Run[] {
    const found: Run[] = [];
    let at = 0;
    for (const { text, style } of this.runs) {
      const piece = whole(text.slice(Math.max(0, from - at), Math.max(0, to - at)));
      if (piece) found.push({ text: piece, style });
      at += text.length;
    }
    return found;
  }
}

/** Half a character, where another was written over it, is a blank. */
function whole(text: string): string {
  return text.replace(/^[\udc00-\udfff]|[\ud800-\udbff]$/g, " ");
}

export function alike(a: Style, b: Style): boolean {
  return (
    a === b ||
    (a.fg === b.fg &&
      a.bg === b.bg &&
      !a.bold === !b.bold &&
      !a.dim === !b.dim &&
      !a.italic === !b.italic &&
      !a.underline === !b.underline &&
      !a.strike === !b.strike &&
      !a.inverse === !b.inverse)
  );
}
