// %tf_ps: the containers of a session, and beneath each its processes.
import { elapsed, plural, share } from "../numbers.js";
import { element, set } from "../status.js";
import { doing } from "./card.js";
import { Controls } from "./controls.js";
import type { Desk, Drawing } from "./desk.js";
import type { Container, Process, PsInfo, Tunnel } from "./info.js";
import { Link } from "./link.js";
import { type Row, Rows, mark } from "./parts.js";
import { ProcessCells } from "./process.js";

/** A row of the table: a container's, or one of its processes'. */
type Line = { container: Container; process?: Process };

export class Ps implements Drawing<PsInfo> {
  readonly title: HTMLElement[];
  readonly actions: HTMLElement[] = [];
  readonly body: HTMLElement[];
  readonly #session = element("span", "tfnz-title");
  readonly #count = element("span", "tfnz-facts");
  readonly #table = element("table", "tfnz-table tfnz-ps");
  readonly #rows: Rows<Line>;
  readonly #none = element("div", "tfnz-line tfnz-dim", "No containers.");
  readonly #more = element("div", "tfnz-line tfnz-dim");

  constructor(desk: Desk) {
    this.title = [this.#session, this.#count];
    const head = element("thead", "");
    const row = element("tr", "");
    const names: [string, string][] = [
      ["container", ""],
      ["image", "tfnz-w-image"],
      ["state", "tfnz-w-does"],
      ["pid", "tfnz-number tfnz-w-pid"],
      ["up", "tfnz-number tfnz-w-up"],
      ["ports", "tfnz-w-ports"],
      ["", "tfnz-w-actions"],
    ];
    row.append(...names.map(([text, name]) => element("th", name, text)));
    head.append(row);
    const body = element("tbody", "");
    this.#table.append(head, body);
    this.#rows = new Rows<Line>(
      body,
      ({ container, process }) => (process ? `${container.id}/${process.id}` : container.id),
      ({ container, process }) => (process ? new ProcessRow(desk, container, process) : new ContainerRow(desk, container)),
      () => desk.held(),
    );
    this.body = [this.#table, this.#none, this.#more];
  }

  state(): { dot: string; text: string } {
    return { dot: "running", text: "Containers" };
  }

  update(told: PsInfo): void {
    const running = told.containers.filter((each) => each.state === "running").length;
    set(this.#session, `session ${told.session}`, `${told.where}, session ${told.session}`);
    set(this.#count, `${running} of ${told.containers.length + told.more} running`);
    this.#rows.update(
      told.containers.flatMap((container) => [
        { container },
        ...container.processes.map((process) => ({ container, process })),
      ]),
    );
    this.#table.hidden = told.containers.length === 0;
    this.#none.hidden = told.containers.length > 0;
    this.#more.hidden = told.more === 0;
    set(this.#more, plural(told.more, "more container"));
  }
}

class ContainerRow implements Row<Line> {
  readonly el = element("tr", "tfnz-row tfnz-container");
  readonly #name = element("td", "tfnz-strong tfnz-clip");
  readonly #image = element("td", "tfnz-dim tfnz-clip");
  readonly #does = element("td", "tfnz-does");
  readonly #up = element("td", "tfnz-number tfnz-dim");
  readonly #ports = element("td", "tfnz-clip");
  readonly #links: Rows<Tunnel>;
  readonly #controls: Controls;

  readonly #desk: Desk;

  constructor(
    desk: Desk,
    told: Container,
  ) {
    this.#desk = desk;
    this.#controls = new Controls(desk, { container: told.id }, false);
    const actions = element("td", "tfnz-controls");
    actions.append(this.#controls.el);
    this.#links = new Rows(this.#ports, (each) => String(each.local), portLink, () => false);
    this.el.append(this.#name, this.#image, this.#does, element("td", ""), this.#up, this.#ports, actions);
  }

  update({ container }: Line): void {
    const { pull } = container;
    const { text, dot } = doing(container);
    const part = pull ? ` ${share(pull.done, pull.total)}`.trimEnd() : "";
    const more = container.more > 0 ? ` (+${container.more})` : "";
    set(this.#name, container.title + more, `${container.title}, id ${container.id.slice(0, 12)}`);
    set(this.#image, container.image, container.image);
    set(this.#does, this.#desk.pending("destroy", { container: container.id }) ? "destroying…" : text + part, container.error);
    mark(this.#does, "tone", dot === "running" ? "good" : dot === "bad" ? "bad" : "quiet");
    const running = container.state === "running" && container.created > 0;
    set(this.#up, running ? elapsed(this.#desk.now() - container.created) : "");
    this.#links.update(container.tunnels);
    this.#controls.update(container);
  }
}

class ProcessRow implements Row<Line> {
  readonly el: HTMLElement;
  readonly #cells: ProcessCells;

  constructor(desk: Desk, container: Container, process: Process) {
    this.#cells = new ProcessCells(desk, container.id, process.id);
    this.el = this.#cells.el;
    const command = this.#cells.command;
    command.colSpan = 2;
    this.el.append(command, this.#cells.state, this.#cells.pid, element("td", ""), element("td", ""), this.#cells.controls);
  }

  update({ process }: Line): void {
    if (process) this.#cells.update(process);
  }
}

function portLink(): Row<Tunnel> {
  const link = new Link();
  return { el: link.el, update: (each) => link.point(each.local, "", `${each.port} → ${each.local}`) };
}
