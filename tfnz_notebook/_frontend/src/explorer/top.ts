// %tf_top: what containers use, one line each, sorted by whatever column is clicked.
import { percent, plural, rate, size } from "../numbers.js";
import { element, set } from "../status.js";
import { doing } from "./card.js";
import type { Desk, Drawing } from "./desk.js";
import type { TopInfo, Usage } from "./info.js";
import { type Row, Rows, Sparkline, mark } from "./parts.js";

type Line = TopInfo["containers"][number];
type Key = "title" | "cpu" | "memory" | "read" | "written" | "received" | "sent" | "pids";

const COLUMNS: [Key, string, string][] = [
  ["title", "container", ""],
  ["cpu", "CPU", "tfnz-number tfnz-w-cpu"],
  ["memory", "memory", "tfnz-number tfnz-w-memory"],
  ["read", "read", "tfnz-number tfnz-w-rate"],
  ["written", "written", "tfnz-number tfnz-w-rate"],
  ["received", "received", "tfnz-number tfnz-w-rate"],
  ["sent", "sent", "tfnz-number tfnz-w-rate"],
  ["pids", "pids", "tfnz-number tfnz-w-pids"],
];

export class Top implements Drawing<TopInfo> {
  readonly title: HTMLElement[];
  readonly actions: HTMLElement[] = [];
  readonly body: HTMLElement[];
  readonly #session = element("span", "tfnz-title");
  readonly #table = element("table", "tfnz-table tfnz-top");
  readonly #none = element("div", "tfnz-line tfnz-dim", "No containers.");
  readonly #more = element("div", "tfnz-line tfnz-dim");
  readonly #heads = new Map<Key, HTMLElement>();
  readonly #rows: Rows<Line>;
  /** In the order they were spawned, until a column is chosen. */
  #sorted: Key | undefined;
  #down = true;
  #order: string[] = [];

  readonly #desk: Desk;

  constructor(desk: Desk) {
    this.#desk = desk;
    this.title = [this.#session];
    const head = element("thead", "");
    const row = element("tr", "");
    for (const [key, text, name] of COLUMNS) {
      const cell = element("th", name);
      const sort = element("button", "tfnz-sort", text);
      sort.type = "button";
      sort.title = `Sort by ${text}`;
      sort.addEventListener("click", () => this.#sort(key));
      cell.append(sort);
      row.append(cell);
      this.#heads.set(key, cell);
    }
    head.append(row);
    const body = element("tbody", "");
    this.#table.append(head, body);
    this.#rows = new Rows<Line>(body, (each) => each.id, () => new UsageRow(), () => false);
    this.body = [this.#table, this.#none, this.#more];
  }

  state(): { dot: string; text: string } {
    return { dot: "running", text: "Usage" };
  }

  update(told: TopInfo): void {
    set(this.#session, `session ${told.session}`, `${told.where}, session ${told.session}`);
    // Rows change places only while nobody points at one.
    if (!this.#sorted || this.#order.length === 0 || !this.#desk.held()) this.#order = this.#arranged(told.containers).map((each) => each.id);
    const place = new Map(this.#order.map((id, i) => [id, i]));
    const last = this.#order.length;
    this.#rows.update([...told.containers].sort((a, b) => (place.get(a.id) ?? last) - (place.get(b.id) ?? last)));
    this.#table.hidden = told.containers.length === 0;
    this.#none.hidden = told.containers.length > 0;
    this.#more.hidden = told.more === 0;
    set(this.#more, plural(told.more, "more container"));
  }

  #arranged(lines: Line[]): Line[] {
    const sorted = this.#sorted;
    if (!sorted) return lines;
    const way = this.#down ? -1 : 1;
    if (sorted === "title") return [...lines].sort((a, b) => way * a.title.localeCompare(b.title));
    const value = (line: Line): number => line.usage?.[sorted] ?? -1;
    return [...lines].sort((a, b) => way * (value(a) - value(b)));
  }

  /** Numbers the largest first, names from A; again: the other way round; a third time: as they were. */
  #sort(key: Key): void {
    const first = key !== "title";
    if (this.#sorted !== key) [this.#sorted, this.#down] = [key, first];
    else if (this.#down === first) this.#down = !first;
    else this.#sorted = undefined;
    for (const [each, cell] of this.#heads) {
      if (each === this.#sorted) cell.setAttribute("aria-sort", this.#down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
    this.#order = [];
    this.#desk.redraw();
  }
}

class UsageRow implements Row<Line> {
  readonly el = element("tr", "tfnz-row");
  readonly #name = element("td", "tfnz-strong tfnz-clip");
  readonly #cpu = element("td", "tfnz-number");
  readonly #memory = element("td", "tfnz-number");
  readonly #cells = COLUMNS.slice(3).map(() => element("td", "tfnz-number"));
  readonly #percent = element("span", "");
  readonly #bytes = element("span", "");
  readonly #cpus = new Sparkline();
  readonly #memories = new Sparkline();

  constructor() {
    this.#cpu.append(this.#cpus.el, this.#percent);
    this.#memory.append(this.#memories.el, this.#bytes);
    this.el.append(this.#name, this.#cpu, this.#memory, ...this.#cells);
  }

  update(told: Line): void {
    const { usage } = told;
    const state = doing(told).text;
    set(this.#name, told.title, `${told.title}, ${told.image}: ${state}`);
    mark(this.el, "ended", String(told.state !== "running"));
    set(this.#percent, told.state === "running" ? percent(usage?.cpu ?? null) || "…" : state);
    const limit = usage?.limit ? `limit ${size(usage.limit)}` : "no limit";
    const short = usage?.limit ? ` / ${size(usage.limit)}` : "";
    set(this.#bytes, usage?.memory != null ? size(usage.memory) + short : "", limit);
    this.#cpus.draw(usage?.cpus ?? [], 20);
    this.#memories.draw(usage?.memories ?? [], usage?.limit ?? 1.25 * (usage?.memory ?? 0));
    COLUMNS.slice(3).forEach(([key], i) => {
      const value = usage?.[key as keyof Usage] as number | null | undefined;
      const text = value == null ? "" : key === "pids" ? String(value) : rate(value);
      set(this.#cells[i] as HTMLElement, text);
    });
  }
}
