// %tf_ps: the containers of a session, and beneath each its processes. Some can be chosen, to be stopped or destroyed at once.
import { elapsed, plural, share } from "../../text/numbers.js";
import { element, set } from "../../look/status.js";
import { doing, tone } from "../cards/card.js";
import { Controls } from "../controls.js";
import type { Desk, Drawing } from "../desk.js";
import { Filter } from "./filter.js";
import type { Container, Process, PsInfo } from "../info.js";
import { type Row, Rows, label, mark } from "../parts.js";
import { portLink } from "../ports.js";
import { ProcessCells, SaidRow, processLines } from "./process.js";
import { type Column, type Line, ROW, Table, cell, sorted } from "./table.js";

/** A row of the table: a container's, or one of its processes'. */
type Item = { container: Container; process?: Process };

const COLUMNS: readonly Column[] = [
  ["", "", "tfnz-c-choose"],
  ["title", "container", "tfnz-c-name"],
  ["state", "state", "tfnz-c-state"],
  ["", "ports", "tfnz-c-ports"],
  ["image", "image", "tfnz-c-image"],
  ["", "pid", "tfnz-number tfnz-c-pid"],
  ["created", "up", "tfnz-number tfnz-c-up"],
  ["", "to do", "tfnz-controls tfnz-c-controls"],
];

export class Ps implements Drawing<PsInfo> {
  readonly title: HTMLElement[];
  readonly actions: HTMLElement[];
  readonly body: HTMLElement[];
  readonly #session = element("span", "tfnz-title tfnz-first-to-go");
  readonly #count = element("span", "tfnz-facts tfnz-clip");
  readonly #table: Table<Item>;
  readonly #filter: Filter;
  readonly #controls: Controls;
  readonly #all = element("input", "tfnz-choose");
  readonly #chosen = new Set<string>();
  #shown: Container[] = [];
  readonly #none = element("div", "tfnz-line tfnz-dim");
  readonly #more = element("div", "tfnz-line tfnz-dim");
  readonly #desk: Desk;

  constructor(desk: Desk) {
    this.#desk = desk;
    this.#all.type = "checkbox";
    label(this.#all, "Choose all that are shown");
    this.#all.addEventListener("change", () => {
      for (const { id } of this.#shown) this.#choose(id, this.#all.checked);
      desk.redraw();
    });
    this.#table = new Table<Item>(desk, "tfnz-ps", COLUMNS, (line) => this.#row(line), this.#all);
    this.#filter = new Filter(() => {
      this.#table.anew();
      desk.redraw();
    });
    this.#controls = new Controls(desk, true, false);
    this.title = [this.#session, this.#count];
    this.actions = [this.#filter.el, this.#controls.el];
    this.body = [this.#table.el, this.#none, this.#more];
  }

  state(): { dot: string; text: string } {
    return { dot: "running", text: "Containers" };
  }

  update(told: PsInfo): void {
    const { containers } = told;
    const running = containers.filter((each) => each.state === "running").length;
    set(this.#session, `session ${told.session}`, `${told.where}, session ${told.session}`);
    const chosen = containers.filter((each) => this.#chosen.has(each.id));
    set(this.#count, chosen.length ? `${chosen.length} chosen` : `${running} of ${containers.length + told.more} running`);
    const order = this.#table.order;
    this.#shown = sorted(containers.filter((each) => this.#filter.passes(...texts(each))), order, value);
    this.#table.update(this.#shown.flatMap((container) => this.#lines(container)));
    this.#table.el.hidden = containers.length === 0;
    this.#none.hidden = this.#shown.length > 0;
    set(this.#none, containers.length ? "No container, image or process is called so." : "No containers.");
    this.#more.hidden = told.more === 0;
    set(this.#more, plural(told.more, "more container"));
    this.#updateChosen(containers, chosen);
  }

  #updateChosen(containers: Container[], chosen: Container[]): void {
    const there = new Set(containers.map((each) => each.id));
    for (const id of this.#chosen) if (!there.has(id)) this.#chosen.delete(id);
    const of = this.#shown.filter((each) => this.#chosen.has(each.id)).length;
    this.#all.checked = of > 0 && of === this.#shown.length;
    this.#all.indeterminate = of > 0 && of < this.#shown.length;
    this.#controls.update(chosen);
  }

  /** A container, and its processes: all if it is what is looked for, else those that are. */
  #lines(container: Container): Line<Item>[] {
    const own = this.#filter.passes(...texts({ ...container, processes: [] }));
    const processes = container.processes.filter((each) => own || this.#filter.passes(each.text));
    return [
      { key: container.id, height: ROW, item: { container } },
      ...processes.flatMap((process) => {
        // A main process has its container's id.
        const [row, ...said] = processLines<Item>(this.#desk, process, { container, process }, ROW);
        return [{ ...(row as Line<Item>), key: `${container.id}/${process.id}` }, ...said];
      }),
    ];
  }

  #choose(id: string, on: boolean): void {
    if (on) this.#chosen.add(id);
    else this.#chosen.delete(id);
  }

  #row(line: Line<Item>): Row<Item> {
    const desk = this.#desk;
    const { container, process } = line.item;
    if (!process) {
      return new ContainerRow(desk, (on) => {
        this.#choose(container.id, on);
        desk.redraw();
      }, () => this.#chosen.has(container.id));
    }
    if (line.loose) {
      const said = new SaidRow(desk);
      return { el: said.el, update: (item) => item.process && said.update(item.process) };
    }
    return new ProcessRow(desk, container, process);
  }
}

/** What of a container is looked through. */
function texts(each: Container): string[] {
  const own = [each.title, each.image, each.state, each.tag, each.engine_id, each.engine_name, each.id];
  return [...own, ...each.processes.map(({ text }) => text)];
}

function value(each: Container, key: string): string | number {
  return key === "created" ? -each.created : String(each[key as "title" | "image" | "state"]);
}

class ContainerRow implements Row<Item> {
  readonly el = element("tr", "tfnz-row tfnz-container");
  readonly #choose = element("input", "tfnz-choose");
  readonly #dot = element("i", "tfnz-mark");
  readonly #name = element("bdi", "");
  readonly #named = cell("tfnz-c-name tfnz-strong");
  readonly #image = cell("tfnz-dim tfnz-c-image");
  readonly #does = cell("tfnz-does tfnz-c-state");
  readonly #up = cell("tfnz-number tfnz-dim tfnz-c-up");
  readonly #ports = cell("tfnz-c-ports");
  readonly #links: Rows<{ port: number; tunnel?: Container["tunnels"][number] }>;
  readonly #controls: Controls;
  readonly #chosen: () => boolean;
  readonly #desk: Desk;

  constructor(desk: Desk, choose: (on: boolean) => void, chosen: () => boolean) {
    this.#desk = desk;
    this.#chosen = chosen;
    this.#controls = new Controls(desk, false);
    this.#choose.type = "checkbox";
    this.#choose.addEventListener("change", () => choose(this.#choose.checked));
    const first = cell("tfnz-c-choose");
    first.append(this.#choose);
    this.#named.append(this.#dot, this.#name);
    const actions = cell("tfnz-controls tfnz-c-controls");
    actions.append(this.#controls.el);
    this.#links = new Rows(this.#ports, (each) => String(each.tunnel?.local), portLink);
    this.el.append(first, this.#named, this.#does, this.#ports, this.#image, cell("tfnz-c-pid"), this.#up, actions);
  }

  update({ container }: Item): void {
    const { pull } = container;
    const { text, dot, hint } = doing(container);
    const part = pull ? ` ${share(pull.done, pull.total)}`.trimEnd() : "";
    const going = this.#desk.pending("destroy", container.id) ? "destroying…" : this.#desk.pending("stop", container.id) ? "stopping…" : "";
    const state = going || text + part;
    set(this.#name, container.title + (container.more > 0 ? ` (+${container.more})` : ""));
    const called = [container.title, state, container.image, `id ${(container.engine_id || container.id).slice(0, 12)}`];
    this.#named.title = [...called, container.engine_name].filter(Boolean).join("\n");
    this.#choose.checked = this.#chosen();
    label(this.#choose, `Choose ${container.title}`);
    set(this.#image, container.image, container.image);
    set(this.#does, state, container.error || hint);
    for (const each of [this.#does, this.#dot]) mark(each, "tone", tone(dot));
    const running = container.state === "running" && container.created > 0;
    set(this.#up, running ? elapsed(this.#desk.now() - container.created) : "");
    this.#links.update(container.tunnels.map((tunnel) => ({ port: tunnel.port, tunnel })));
    this.#controls.update([container]);
  }
}

class ProcessRow implements Row<Item> {
  readonly el: HTMLElement;
  readonly #cells: ProcessCells;
  readonly #up = cell("tfnz-number tfnz-dim tfnz-c-up");
  readonly #desk: Desk;

  constructor(desk: Desk, container: Container, process: Process) {
    this.#desk = desk;
    const cells = (this.#cells = new ProcessCells(desk, container.id, process.id));
    this.el = cells.el;
    const none = ["tfnz-c-ports", "tfnz-c-image"].map((kind) => cell(kind));
    this.el.append(cell("tfnz-c-choose"), cells.command, cells.state, ...none, cells.pid, this.#up, cells.controls);
  }

  update({ process }: Item): void {
    if (!process) return;
    this.#cells.update(process);
    const runs = process.returncode === null && process.started > 0;
    set(this.#up, runs ? elapsed(this.#desk.now() - process.started) : "");
  }
}
