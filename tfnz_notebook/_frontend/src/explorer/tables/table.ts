// A table of any length: only the rows that can be seen are in the page.
import { element } from "../../look/status.js";
import type { Desk } from "../desk.js";
import { type Row, Rows, label } from "../parts.js";

/** Heights in pixels: of a row, and of all that are seen without scrolling. explorer.css has them, too. */
export const ROW = 24;
const TALL = 20 * ROW;
/** Rows above and below those that are seen, for who scrolls. */
const MORE = 8;

/** A column: what it is sorted by (empty: not at all), its heading, and the class of its cells, which has its width. */
export type Column = readonly [key: string, head: string, kind: string];

/** A row that may be drawn. */
export interface Line<T> {
  key: string;
  height: number;
  item: T;
  /** Goes as soon as it is not told any more. */
  loose?: boolean;
  /** Its item is gone; it stays as long as somebody points at the table, and would click on what comes up in its place. */
  gone?: boolean;
}

/** How rows are sorted: by a column, from the largest down or from the smallest up; not at all: as they came. */
export interface Order {
  key: string;
  down: boolean;
}

/** The lines as they were, brought up to date: those that are gone are kept, new ones come after whom they follow. */
export function kept<T>(before: readonly Line<T>[], lines: readonly Line<T>[]): Line<T>[] {
  const told = new Map(lines.map((line) => [line.key, line]));
  const had = new Set(before.map((line) => line.key));
  const found = before
    .filter((line) => told.has(line.key) || !line.loose)
    .map((line) => told.get(line.key) ?? { ...line, gone: true });
  lines.forEach((line, i) => {
    if (had.has(line.key)) return;
    const after = lines[i - 1]?.key;
    found.splice(found.findIndex(({ key }) => key === after) + 1, 0, line);
  });
  return found;
}

/** A cell of a row. */
export function cell(kind: string, text = ""): HTMLTableCellElement {
  return element("td", kind, text);
}

export class Table<T> {
  readonly el = element("div", "tfnz-scroller");
  readonly #above = spacer();
  readonly #below = spacer();
  readonly #table = element("table", "tfnz-table");
  readonly #heads = new Map<string, HTMLElement>();
  readonly #rows: Rows<Line<T>>;
  #lines: Line<T>[] = [];
  #order: Order | undefined;
  readonly #desk: Desk;

  /** `first`: what is above its first column instead of a heading. */
  constructor(desk: Desk, kind: string, columns: readonly Column[], make: (line: Line<T>) => Row<T>, first?: HTMLElement) {
    this.#desk = desk;
    this.#table.classList.add(kind);
    const head = element("tr", "");
    columns.forEach(([key, text, name], i) => {
      const made = element("th", name);
      made.scope = "col";
      if (i === 0 && first) made.append(first);
      else if (key) made.append(this.#sorter(key, text));
      else made.append(element("span", name.includes("controls") ? "tfnz-unseen" : "", text));
      if (key) this.#heads.set(key, made);
      head.append(made);
    });
    const top = element("thead", "");
    top.append(head);
    const body = element("tbody", "");
    this.#table.append(top, this.#above.el, body, this.#below.el);
    this.el.append(this.#table);
    this.#rows = new Rows(body, (line) => line.key, (line) => {
      const row = make(line);
      return { el: row.el, update: (now) => {
        if (now.gone) row.el.dataset["gone"] = "";
        else delete row.el.dataset["gone"];
        row.update(now.item);
      } };
    });
    this.el.addEventListener("scroll", () => this.#draw());
  }

  /** By what it is sorted now. */
  get order(): Order | undefined {
    return this.#order;
  }

  update(lines: readonly Line<T>[]): void {
    this.#lines = this.#desk.held() && this.#lines.length > 0 ? kept(this.#lines, lines) : [...lines];
    this.#table.setAttribute("aria-rowcount", String(this.#lines.length + 1));
    this.#draw();
  }

  /** What comes next is drawn as it comes, whoever points at it: they asked for it. */
  anew(): void {
    this.#lines = [];
    this.el.scrollTop = 0;
  }

  #draw(): void {
    const from = this.el.scrollTop - MORE * ROW;
    const upto = this.el.scrollTop + TALL + MORE * ROW;
    let at = 0;
    let first = 0;
    let above = 0;
    const shown: Line<T>[] = [];
    for (const line of this.#lines) {
      const next = at + line.height;
      if (next <= from) {
        above = next;
        first += 1;
      } else if (at < upto) {
        shown.push(line);
      } else {
        break;
      }
      at = next;
    }
    this.#rows.update(shown);
    const left = this.#lines.slice(first + shown.length).reduce((sum, { height }) => sum + height, 0);
    this.#above.tall(above);
    this.#below.tall(left);
  }

  /** Numbers the largest first; again: the other way round; a third time: as they came. */
  #sorter(key: string, text: string): HTMLElement {
    const made = element("button", "tfnz-sort", text);
    made.type = "button";
    label(made, `Sort by ${text}`);
    made.addEventListener("click", () => {
      const before = this.#order;
      const first = !TEXTS.has(key);
      if (before?.key !== key) this.#order = { key, down: first };
      else if (before.down === first) this.#order = { key, down: !first };
      else this.#order = undefined;
      for (const [each, head] of this.#heads) {
        if (each === this.#order?.key) head.setAttribute("aria-sort", this.#order.down ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
      }
      this.anew();
      this.#desk.redraw();
    });
    return made;
  }
}

/** What is sorted from A. */
const TEXTS: ReadonlySet<string> = new Set(["title", "image", "state"]);

/** The same, sorted: by texts or numbers; what has none comes last. */
export function sorted<T>(items: readonly T[], order: Order | undefined, value: (item: T, key: string) => string | number): T[] {
  if (!order) return [...items];
  const way = order.down ? -1 : 1;
  return [...items].sort((a, b) => {
    const [x, y] = [value(a, order.key), value(b, order.key)];
    return way * (typeof x === "string" ? x.localeCompare(String(y), undefined, { numeric: true }) : x - Number(y));
  });
}

/** Room for rows that are not in the page. */
function spacer(): { el: HTMLElement; tall(pixels: number): void } {
  const el = element("tbody", "");
  const row = element("tr", "");
  el.setAttribute("aria-hidden", "true");
  el.hidden = true;
  el.append(row);
  return {
    el,
    tall: (pixels) => {
      el.hidden = pixels === 0;
      const height = `${pixels}px`;
      if (row.style.height !== height) row.style.height = height;
    },
  };
}
