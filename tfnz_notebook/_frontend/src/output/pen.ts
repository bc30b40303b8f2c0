// The line that a stream is writing: runs of text that look alike, and where the next character goes, in the columns of
// a terminal. The rules are in widgets/saved/ansi.py.
import { columns } from "../text/widths.js";
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
/** What may take another number of columns than of UTF-16 units. */
const ODD = /[\t\u0300-\uffff]/;

export class Pen {
  runs: Run[] = [];
  /** UTF-16 units of the line. */
  size = 0;
  private columns = 0;
  private at = 0;
  /** Each unit takes one column, so that columns are places in the text. */
  private even = true;

  write(text: string, style: Style): void {
    if (this.at > this.columns) {
      this.append(" ".repeat(this.at - this.columns), PLAIN);
      this.columns = this.at;
    }
    const odd = ODD.test(text);
    const joined = odd && this.at > 0 ? joining(text) : 0;
    if (joined > 0) this.join(text.slice(0, joined));
    const rest = text.slice(joined);
    if (odd) this.even &&= isEven(rest);
    const end = this.at + (odd ? measure(rest, this.at) : rest.length);
    if (this.at === this.columns) this.append(rest, style);
    else if (rest) this.set([...this.cut(0, this.at), { text: rest, style }, ...this.cut(end, this.columns)]);
    this.columns = Math.max(this.columns, end);
    this.at = end;
  }

  home(): void {
    this.at = 0;
  }

  /** Where the next character goes, from 0. */
  get place(): number {
    return this.at;
  }

  set place(at: number) {
    this.at = at;
  }

  /** A line that was written before. */
  static of(runs: readonly Run[]): Pen {
    const pen = new Pen();
    for (const { text, style } of runs) pen.write(text, style);
    pen.home();
    return pen;
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
    if (this.at < this.columns) this.at += TAB - (this.at % TAB);
    else this.write("\t", style);
  }

  /** 0: to the line's end; 1: up to here; 2: all of it. */
  erase(how: number): void {
    if (how === 1) {
      const blank = Math.min(this.at + 1, this.columns);
      this.set([{ text: " ".repeat(blank), style: PLAIN }, ...this.cut(blank, this.columns)]);
    } else if (how === 0 || how === 2) {
      const kept = how === 0 ? Math.min(this.at, this.columns) : 0;
      this.set(this.cut(0, kept));
      this.columns = kept;
    }
  }

  /** The whole line; begins the next. */
  take(): Run[] {
    const { runs } = this;
    this.runs = [];
    this.size = this.columns = this.at = 0;
    this.even = true;
    return runs;
  }

  private append(text: string, style: Style): void {
    if (!text) return;
    const last = this.runs[this.runs.length - 1];
    if (last && alike(last.style, style)) last.text += text;
    else this.runs.push({ text, style });
    this.size += text.length;
  }

  /** What has no column of its own goes with the character before the cursor. */
  private join(text: string): void {
    let at = 0;
    let last: { run: Run; units: number } | undefined;
    for (const run of this.at < this.columns ? this.runs : this.runs.slice(-1)) {
      let units = 0;
      for (const character of run.text) {
        const width = widthOf(character, at);
        if (width > 0 && at >= this.at) break;
        at += width;
        last = { run, units: (units += character.length) };
      }
    }
    if (!last) return;
    const { run, units } = last;
    run.text = run.text.slice(0, units) + text + run.text.slice(units);
    this.size += text.length;
    this.even = false;
  }

  private set(runs: Run[]): void {
    this.runs = [];
    this.size = 0;
    for (const { text, style } of runs) this.append(text, runs.length > MOST_RUNS ? PLAIN : style);
  }

  /** What is in some columns; of a character that reaches over their borders, blanks. */
  private cut(from: number, to: number): Run[] {
    const found: Run[] = [];
    let at = 0;
    for (const { text, style } of this.runs) {
      let piece = "";
      if (this.even) {
        piece = text.slice(Math.max(0, from - at), Math.max(0, to - at));
        at += text.length;
      } else {
        let kept = false;
        for (const character of text) {
          const width = widthOf(character, at);
          const inside = Math.min(at + width, to) - Math.max(at, from);
          if (width > 0) kept = inside === width;
          if (kept) piece += character;
          else if (inside > 0) piece += " ".repeat(inside);
          at += width;
        }
      }
      if (piece) found.push({ text: piece, style });
    }
    return found;
  }
}

/** Columns of a character in a line's column: where a line begins, there is nothing to join. */
function widthOf(character: string, at: number): number {
  if (character === "\t") return TAB - (at % TAB);
  return columns(character.codePointAt(0) as number) || (at === 0 ? 1 : 0);
}

function measure(text: string, at: number): number {
  let end = at;
  for (const character of text) end += widthOf(character, end);
  return end - at;
}

function isEven(text: string): boolean {
  return [...text].every((each) => each.length === 1 && each !== "\t" && columns(each.charCodeAt(0)) === 1);
}

/** Units at the beginning that join what is before. */
function joining(text: string): number {
  let units = 0;
  for (const character of text) {
    if (widthOf(character, 1) > 0) break;
    units += character.length;
  }
  return units;
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
      !a.inverse === !b.inverse &&
      !a.hidden === !b.hidden)
  );
}
