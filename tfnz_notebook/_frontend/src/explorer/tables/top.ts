// %tf_top: what containers use, one line each, sorted by whatever column is clicked.
import { percent, plural, rate, size } from "../../text/numbers.js";
import { element, set } from "../../look/status.js";
import { doing, tone } from "../cards/card.js";
import type { Desk, Drawing } from "../desk.js";
import { Filter } from "./filter.js";
import type { TopInfo, Usage } from "../info.js";
import { type Row, Sparkline, mark } from "../parts.js";
import { type Column, ROW, Table, cell, sorted } from "./table.js";

type Item = TopInfo["containers"][number];

const COLUMNS: readonly Column[] = [
  ["title", "container", "tfnz-c-name"],
  ["cpu", "CPU", "tfnz-number tfnz-c-cpu"],
  ["memory", "memory", "tfnz-number tfnz-c-memory"],
  ["read", "read", "tfnz-number tfnz-c-rate tfnz-c-disk"],
  ["written", "written", "tfnz-number tfnz-c-rate tfnz-c-disk"],
  ["received", "received", "tfnz-number tfnz-c-rate tfnz-c-net"],
  ["sent", "sent", "tfnz-number tfnz-c-rate tfnz-c-net"],
  ["pids", "pids", "tfnz-number tfnz-c-pids"],
];

export class Top implements Drawing<TopInfo> {
  readonly title: HTMLElement[];
  readonly actions: HTMLElement[];
  readonly body: HTMLElement[];
  readonly #session = element("span", "tfnz-title tfnz-first-to-go");
  readonly #table: Table<Item>;
  readonly #filter: Filter;
  readonly #none = element("div", "tfnz-line tfnz-dim");
  readonly #more = element("div", "tfnz-line tfnz-dim");

  constructor(desk: Desk) {
    this.#table = new Table<Item>(desk, "tfnz-top", COLUMNS, () => new UsageRow());
    this.#filter = new Filter(() => {
      this.#table.anew();
      desk.redraw();
    });
    this.title = [this.#session];
    this.actions = [this.#filter.el];
    this.body = [this.#table.el, this.#none, this.#more];
  }

  state(): { dot: string; text: string } {
    return { dot: "running", text: "Usage" };
  }

  update(told: TopInfo): void {
    const { containers } = told;
    set(this.#session, `session ${told.session}`, `${told.where}, session ${told.session}`);
    const shown = containers.filter((each) => this.#filter.passes(each.title, each.image, each.state));
    this.#table.update(sorted(shown, this.#table.order, value).map((item) => ({ key: item.id, height: ROW, item })));
    this.#table.el.hidden = containers.length === 0;
    this.#none.hidden = shown.length > 0;
    set(this.#none, containers.length ? "No container or image is called so." : "No containers.");
    this.#more.hidden = told.more === 0;
    set(this.#more, plural(told.more, "more container"));
  }
}

function value(item: Item, key: string): string | number {
  return key === "title" ? item.title : ((item.usage?.[key as keyof Usage] as number | null | undefined) ?? -1);
}

class UsageRow implements Row<Item> {
  readonly el = element("tr", "tfnz-row");
  readonly #named = cell("tfnz-c-name tfnz-strong");
  readonly #name = element("bdi", "");
  readonly #cpu = cell("tfnz-number tfnz-c-cpu");
  readonly #memory = cell("tfnz-number tfnz-c-memory");
  readonly #cells = COLUMNS.slice(3).map(([, , kind]) => cell(kind));
  readonly #percent = element("span", "tfnz-does");
  readonly #bytes = element("span", "tfnz-bytes");
  readonly #limit = element("span", "tfnz-dim tfnz-limit");
  readonly #cpus = new Sparkline();
  readonly #memories = new Sparkline();

  constructor() {
    this.#named.append(this.#name);
    this.#cpu.append(this.#cpus.el, this.#percent);
    this.#memory.append(this.#memories.el, this.#bytes, this.#limit);
    this.el.append(this.#named, this.#cpu, this.#memory, ...this.#cells);
  }

  update(told: Item): void {
    const { usage } = told;
    const { text, dot } = doing(told);
    const runs = told.state === "running";
    set(this.#name, told.title);
    this.#named.title = `${told.title}, ${told.image}: ${text}`;
    mark(this.el, "ended", String(!runs));
    set(this.#percent, runs ? percent(usage?.cpu) || "…" : text);
    mark(this.#percent, "tone", runs ? "" : tone(dot));
    const limit = usage?.limit;
    set(this.#bytes, usage?.memory != null ? size(usage.memory) : "", limit ? `limit ${size(limit)}` : "no limit");
    set(this.#limit, usage?.memory != null && limit ? ` / ${size(limit)}` : "");
    this.#cpus.draw(usage?.cpus ?? [], 20);
    this.#memories.draw(usage?.memories ?? [], limit ?? 1.25 * (usage?.memory ?? 0));
    COLUMNS.slice(3).forEach(([key], i) => {
      const used = usage?.[key as keyof Usage] as number | null | undefined;
      set(this.#cells[i] as HTMLElement, used == null ? "" : key === "pids" ? String(used) : rate(used));
    });
  }
}
