// Search in what a terminal shows and what scrolled off it.
import type { Terminal } from "@xterm/xterm";
import { element } from "../look/status.js";

export interface Hit {
  x: number;
  y: number;
  cells: number;
}

/** Where a text is in the buffer, from above to below; upper and lower case are the same. */
export function hits(terminal: Terminal, text: string): Hit[] {
  const wanted = text.toLowerCase();
  const found: Hit[] = [];
  const { active } = terminal.buffer;
  for (let y = 0; wanted && y < active.length; y += 1) {
    const line = active.getLine(y);
    // Of each character the column that it begins in, and at last the one behind them all.
    let row = "";
    const columns: number[] = [];
    for (let x = 0; x < terminal.cols; x += 1) {
      const cell = line?.getCell(x);
      if (!cell || cell.getWidth() === 0) continue;
      const characters = (cell.getChars() || " ").toLowerCase();
      row += characters;
      for (let n = 0; n < characters.length; n += 1) columns.push(x);
    }
    columns.push(terminal.cols);
    for (let at = row.indexOf(wanted); at >= 0; at = row.indexOf(wanted, at + wanted.length)) {
      const x = columns[at]!;
      found.push({ x, y, cells: columns[at + wanted.length]! - x });
    }
  }
  return found;
}

/** A line to search with; `open` shows it. */
export class Search {
  readonly el = element("div", "tfnz-shell-search");
  readonly #input = element("input", "");
  readonly #count = element("span", "");
  #at = -1;

  constructor(private readonly terminal: Terminal) {
    this.el.hidden = true;
    this.el.setAttribute("role", "search");
    this.#input.type = "search";
    this.#input.placeholder = "Find";
    this.#input.setAttribute("aria-label", "Find in the terminal");
    this.#count.setAttribute("role", "status");
    this.el.append(this.#input, this.#count);
    this.#input.addEventListener("input", () => {
      this.#at = -1;
      this.#go(-1);
    });
    this.#input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.#go(event.shiftKey ? 1 : -1);
      else if (event.key === "Escape") this.close();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  open(): void {
    this.el.hidden = false;
    this.#input.select();
    this.#input.focus();
  }

  close(): void {
    this.el.hidden = true;
    this.terminal.clearSelection();
    this.terminal.focus();
  }

  /** To the one above (-1) or below; from the end, where it begins. */
  #go(step: number): void {
    const found = hits(this.terminal, this.#input.value);
    this.#at = this.#at < 0 ? found.length - 1 : (this.#at + step + found.length) % Math.max(1, found.length);
    const hit = found[this.#at];
    this.#count.textContent = hit ? `${this.#at + 1} of ${found.length}` : this.#input.value ? "none" : "";
    this.terminal.clearSelection();
    if (!hit) return;
    this.terminal.select(hit.x, hit.y, hit.cells);
    this.terminal.scrollToLine(Math.max(0, hit.y - Math.floor(this.terminal.rows / 2)));
  }
}
