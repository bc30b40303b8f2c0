// xterm.js in an element: made when the element has a width, measured, coloured, and fed.
import { Terminal } from "@xterm/xterm";
import { guard } from "./guard.js";
import { theme } from "./palette.js";
import { Unicode11 } from "./unicode.js";

export interface Size {
  rows: number;
  columns: number;
}

const SCROLLBACK = 10_000;
/** What xterm.js's scroll bar takes of the width. */
const SCROLLBAR = 14;
const LEAST: Size = { rows: 2, columns: 10 };
const MOST: Size = { rows: 500, columns: 1000 };

const within = (value: number, least: number, most: number): number => Math.max(least, Math.min(most, Math.floor(value)));

/** One terminal; `box` is the element it is in. */
export class Screen {
  readonly terminal: Terminal;
  readonly #box: HTMLElement;
  #looks = "";

  constructor(box: HTMLElement, rows: number, name: string, answers: () => boolean) {
    this.#box = box;
    this.terminal = new Terminal({
      allowProposedApi: true, // unicode is proposed
      rows,
      cols: 80,
      scrollback: SCROLLBACK,
      cursorInactiveStyle: "outline",
      linkHandler: null,
      windowOptions: {},
      ...this.#style(),
    });
    this.terminal.unicode.register(new Unicode11());
    this.terminal.unicode.activeVersion = "11";
    guard(this.terminal, answers);
    this.terminal.open(box);
    this.terminal.textarea?.setAttribute("aria-label", name);
    this.terminal.element?.setAttribute("role", "group");
    this.terminal.element?.setAttribute("aria-label", name);
  }

  #style(): { fontFamily: string; fontSize: number; theme: ReturnType<typeof theme> } {
    const style = getComputedStyle(this.#box);
    this.#looks = [style.fontFamily, style.fontSize, style.backgroundColor, style.color].join();
    return {
      fontFamily: style.fontFamily,
      fontSize: parseFloat(style.fontSize) || 13,
      theme: theme(style.backgroundColor, style.color),
    };
  }

  /** The page may look different now; true if its font does, and with it the size of a cell. */
  restyle(): boolean {
    const before = this.#looks;
    const style = this.#style();
    if (this.#looks === before) return false;
    const { options } = this.terminal;
    options.theme = style.theme;
    if (options.fontFamily === style.fontFamily && options.fontSize === style.fontSize) return false;
    options.fontFamily = style.fontFamily;
    options.fontSize = style.fontSize;
    return true;
  }

  /** Width and height of a character in CSS pixels; undefined while the page does not lay it out. */
  #cell(): { width: number; height: number } | undefined {
    // xterm.js gives the element of the characters exactly the size of all of them.
    const screen = this.#box.querySelector<HTMLElement>(".xterm-screen");
    const width = parseFloat(screen?.style.width ?? "") / this.terminal.cols;
    const height = parseFloat(screen?.style.height ?? "") / this.terminal.rows;
    return width > 0 && height > 0 ? { width, height } : undefined;
  }

  /** So many columns fit; undefined while nobody can tell. */
  columns(): number | undefined {
    const cell = this.#cell();
    const style = getComputedStyle(this.#box);
    const room = this.#box.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    if (cell === undefined || !(room > 0)) return undefined;
    return within((room - SCROLLBAR) / cell.width, LEAST.columns, MOST.columns);
  }

  /** So many rows are this high. */
  rows(height: number): number {
    const cell = this.#cell();
    return within(cell === undefined ? LEAST.rows : Math.round(height / cell.height), LEAST.rows, MOST.rows);
  }

  /** Rows in use: those that scrolled off make all of them so, as does a program that takes the whole screen. */
  used(least: number): number {
    const { active } = this.terminal.buffer;
    if (active.type === "alternate" || active.baseY > 0) return this.terminal.rows;
    let used = this.terminal.rows;
    while (used > least && !active.getLine(used - 1)?.translateToString(true)) used -= 1;
    return Math.max(used, this.focused || active.cursorX > 0 ? active.cursorY + 1 : 0);
  }

  /** Be as high as so many rows. */
  grow(rows: number, padding: number): void {
    const cell = this.#cell();
    if (cell !== undefined) this.#box.style.height = `${Math.min(rows, this.terminal.rows) * cell.height + padding}px`;
  }

  get size(): Size {
    return { rows: this.terminal.rows, columns: this.terminal.cols };
  }

  resize({ rows, columns }: Size): void {
    if (rows === this.terminal.rows && columns === this.terminal.cols) return;
    this.terminal.resize(within(columns, 2, MOST.columns), within(rows, 1, MOST.rows));
  }

  get focused(): boolean {
    return this.#box.contains(document.activeElement);
  }
}
