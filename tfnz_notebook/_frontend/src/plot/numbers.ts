// A plot as a table, for who cannot see the chart or wants the numbers: of each line what it is, was and is on average,
// and the rows themselves, the newest first.
import { plural } from "../text/numbers.js";
import { element } from "../look/status.js";
import type { Line } from "./chart.js";
import type { Rows } from "./rows.js";
import { human } from "./units.js";

/** Rows listed: more can be scrolled through in `plot.data`. */
const MOST = 100;
/** Between updates: a reader must be able to read. */
const PAUSE_MS = 2000;

export type Column = Line & { column: number };

/** The least, the largest and the mean number of a column between two rows; none without a number. */
export function extremes(rows: Rows, column: number, low: number, high: number): { low: number; high: number; mean: number } | undefined {
  let [least, most, sum, count] = [Infinity, -Infinity, 0, 0];
  for (let row = low; row < high; row += 1) {
    const value = rows.value(column, row);
    if (value !== value) continue;
    least = Math.min(least, value);
    most = Math.max(most, value);
    sum += value;
    count += 1;
  }
  return count > 0 ? { low: least, high: most, mean: sum / count } : undefined;
}

export class Numbers {
  readonly el = element("div", "tfnz-plot-numbers");
  #notBefore = 0;

  constructor(label: string) {
    this.el.hidden = true;
    this.el.tabIndex = 0; // so that it can be scrolled by keyboard
    this.el.setAttribute("role", "region");
    this.el.setAttribute("aria-label", label);
    this.el.setAttribute("data-lm-suppress-shortcuts", "true");
  }

  /** At once, whatever was updated last. */
  reset(): void {
    this.#notBefore = 0;
  }

  /** The rows from `low` to `high` of these lines; `where` says an x. */
  update(now: number, rows: Rows, lines: Column[], low: number, high: number, name: string, where: (x: number) => string): void {
    if (this.el.hidden || now < this.#notBefore) return;
    this.#notBefore = now + PAUSE_MS;
    const table = element("table", "");
    const first = Math.max(low, high - MOST);
    const shown = first > low ? `the newest ${MOST} of ${plural(high - low, "row")}` : plural(high - low, "row");
    table.append(element("caption", "", `What is in view: ${shown}`));
    const head = table.createTHead();
    this.#row(head, "th", name, lines.map((line) => line.name));
    const found = lines.map((line) => extremes(rows, line.column, low, high));
    for (const [said, part] of [["least", "low"], ["mean", "mean"], ["most", "high"]] as const) {
      this.#row(head, "td", said, lines.map((line, at) => human(found[at]?.[part], line.unit)));
    }
    const body = table.createTBody();
    for (let row = high - 1; row >= first; row -= 1) {
      this.#row(body, "td", where(rows.x(row)), lines.map((line) => human(rows.value(line.column, row), line.unit)));
    }
    const { scrollTop, scrollLeft } = this.el;
    this.el.replaceChildren(table);
    this.el.scrollTo(scrollLeft, scrollTop);
  }

  #row(to: HTMLTableSectionElement, kind: "th" | "td", head: string, cells: string[]): void {
    const row = to.insertRow();
    const first = element("th", "", head);
    first.scope = kind === "th" ? "col" : "row";
    row.append(first);
    for (const text of cells) {
      const cell = element(kind, "", text);
      if (kind === "th") (cell as HTMLTableCellElement).scope = "col";
      row.append(cell);
    }
  }
}
