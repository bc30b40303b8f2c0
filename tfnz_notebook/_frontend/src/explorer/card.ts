// A container's card.
import { elapsed, percent, plural, progress, rate, size } from "../numbers.js";
import { element, set } from "../status.js";
import { short } from "../words.js";
import { Controls } from "./controls.js";
import type { Desk, Drawing } from "./desk.js";
import type { Container, ContainerInfo, Process, Tunnel } from "./info.js";
import { Link } from "./link.js";
import { Fact, Rows, Sparkline, word } from "./parts.js";
import { ProcessCells } from "./process.js";

/** What a container is doing, for the dot and in words. */
export function doing(told: Pick<Container, "state" | "returncode">): { dot: string; text: string } {
  switch (told.state) {
    case "running":
      return { dot: "running", text: "running" };
    case "paused":
      return { dot: "paused", text: "paused" };
    case "unresponsive":
    case "unreachable":
      return { dot: "lost", text: told.state };
    case "exited":
      return { dot: told.returncode ? "bad" : "ok", text: told.returncode === null ? "exited" : short(told.returncode) };
    case "failed":
      return { dot: "bad", text: "failed" };
    case "destroyed":
      return { dot: "", text: "destroyed" };
    default:
      return { dot: "starting", text: told.state };
  }
}

export class Card implements Drawing<ContainerInfo> {
  readonly title: HTMLElement[];
  readonly actions: HTMLElement[];
  readonly body: HTMLElement[];
  readonly #name = element("span", "tfnz-title tfnz-strong");
  readonly #image = element("span", "tfnz-facts tfnz-clip");
  readonly #up = element("span", "tfnz-facts");
  readonly #logs: HTMLButtonElement;
  #controls: Controls | undefined;
  readonly #group = element("span", "tfnz-group");

  readonly #pull = element("div", "tfnz-pull");
  readonly #progress = element("progress", "tfnz-progress");
  readonly #pulled = element("span", "tfnz-dim");

  readonly #use = element("div", "tfnz-line tfnz-use");
  readonly #cpu = new Fact("CPU", "6ch");
  readonly #memory = new Fact("memory", "9ch");
  readonly #disk = new Fact("disk", "19ch");
  readonly #net = new Fact("network", "19ch");
  readonly #pids = new Fact("pids", "3ch");
  readonly #cpus = new Sparkline();
  readonly #memories = new Sparkline();

  readonly #line = element("div", "tfnz-line");
  readonly #facts = { id: new Fact("id"), tag: new Fact("tag"), node: new Fact("node"), ip: new Fact("address") };
  readonly #ports = element("span", "tfnz-ports");
  readonly #tunnels: Rows<Tunnel>;

  readonly #table = element("table", "tfnz-table");
  #processes: Rows<Process> | undefined;
  readonly #more = element("div", "tfnz-line tfnz-dim");
  readonly #trouble = element("div", "tfnz-trouble");
  readonly #log = element("pre", "tfnz-log");
  readonly #out = element("span", "");
  readonly #err = element("span", "tfnz-err");
  #shown = false;

  readonly #desk: Desk;

  constructor(desk: Desk) {
    this.#desk = desk;
    this.#logs = word("Logs", "Show the end of what the main process wrote", () => this.#showLogs(!this.#shown));
    this.#logs.setAttribute("aria-pressed", "false");
    this.title = [this.#name, this.#image, this.#up];
    this.actions = [this.#logs, this.#group];
    this.#pull.append(this.#progress, this.#pulled);
    this.#cpu.el.append(this.#cpus.el);
    this.#memory.el.append(this.#memories.el);
    this.#use.append(this.#cpu.el, this.#memory.el, this.#pids.el, this.#disk.el, this.#net.el);
    this.#line.append(...Object.values(this.#facts).map((fact) => fact.el), this.#ports);
    this.#tunnels = new Rows(this.#ports, (each) => String(each.local), tunnelRow, () => false);
    this.#log.append(this.#out, this.#err);
    this.#log.tabIndex = 0; // scrolled by keyboard
    this.#log.setAttribute("aria-label", "log");
    this.body = [this.#pull, this.#use, this.#line, this.#table, this.#more, this.#trouble, this.#log];
  }

  state(told: ContainerInfo): { dot: string; text: string } {
    return doing(told);
  }

  /** After a new opening: the desk does not know any more who wants to see the log. */
  again(): void {
    if (this.#shown) this.#desk.act("logs", { on: true });
  }

  update(told: ContainerInfo): void {
    const desk = this.#desk;
    this.#controls ??= this.#begin(told.id);
    this.#controls.update(told);
    this.#logs.disabled = desk.lost;
    const running = told.state === "running";
    set(this.#name, told.title, told.title);
    set(this.#image, told.title === told.image ? "" : told.image, told.image);
    set(this.#up, running && told.created ? `up ${elapsed(desk.now() - told.created)}` : "");
    this.#updatePull(told);
    this.#updateUse(told);
    this.#facts.id.say(told.id.slice(0, 12), told.id);
    this.#facts.tag.say(told.tag === told.title ? "" : told.tag);
    this.#facts.node.say(told.node);
    this.#facts.ip.say(told.ip);
    this.#tunnels.update(told.tunnels);
    this.#table.hidden = told.processes.length === 0;
    this.#processes?.update(told.processes);
    this.#more.hidden = told.more === 0;
    set(this.#more, plural(told.more, "more process"));
    this.#updateLog(told);
  }

  #begin(container: string): Controls {
    const controls = new Controls(this.#desk, { container }, true);
    this.#group.append(controls.el);
    const head = element("thead", "");
    const row = element("tr", "");
    const names: [string, string][] = [
      ["pid", "tfnz-number tfnz-w-pid"],
      ["state", "tfnz-w-does"],
      ["process", ""],
      ["", "tfnz-w-controls"],
    ];
    row.append(...names.map(([text, name]) => element("th", name, text)));
    head.append(row);
    const body = element("tbody", "");
    this.#table.append(head, body);
    const make = (each: Process): ProcessCells => {
      const cells = new ProcessCells(this.#desk, container, each.id);
      cells.el.append(cells.pid, cells.state, cells.command, cells.controls);
      return cells;
    };
    this.#processes = new Rows(body, (each) => each.id, make, () => this.#desk.held());
    return controls;
  }

  #updatePull(told: ContainerInfo): void {
    const { pull } = told;
    this.#pull.hidden = pull === null;
    if (!pull) return;
    if (pull.total > 0) {
      this.#progress.max = pull.total;
      this.#progress.value = Math.min(pull.done, pull.total);
    } else {
      this.#progress.removeAttribute("value"); // how much there is, is not known yet
    }
    set(this.#pulled, [progress(pull.done, pull.total), pull.text].filter(Boolean).join(" · "), pull.text);
  }

  #updateUse(told: ContainerInfo): void {
    const { usage } = told;
    // Its place is kept while it runs, so that the first sample moves nothing.
    this.#use.hidden = told.state !== "running";
    this.#cpu.say(usage ? percent(usage.cpu) || "…" : "…");
    this.#memory.say(usage?.memory != null ? of(usage.memory, usage.limit) : "…");
    const known = usage !== null;
    this.#disk.say(known && usage.read !== null ? `↓ ${rate(usage.read)}  ↑ ${rate(usage.written)}` : "", "read, written");
    this.#net.say(known && usage.received !== null ? `↓ ${rate(usage.received)}  ↑ ${rate(usage.sent)}` : "", "received, sent");
    this.#pids.say(usage?.pids != null ? String(usage.pids) : "");
    this.#cpus.draw(usage?.cpus ?? [], 20);
    this.#memories.draw(usage?.memories ?? [], usage?.limit ?? 1.25 * (usage?.memory ?? 0));
  }

  #updateLog(told: ContainerInfo): void {
    set(this.#trouble, told.error);
    this.#trouble.hidden = told.error === "";
    const tail = this.#shown ? told.tail : null;
    const last = !tail && (told.state === "failed" || (told.state === "exited" && Boolean(told.returncode)));
    const out = tail ? tail.out : last && !told.error.includes(told.log) ? told.log : "";
    const err = tail ? tail.err : "";
    this.#log.hidden = !(this.#shown || out || err);
    const below = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 8;
    const nothing = this.#shown && !out && !err ? (tail ? "The main process has written nothing." : "…") : "";
    set(this.#out, out ? `${out}\n` : nothing);
    set(this.#err, err);
    if (below) this.#log.scrollTop = this.#log.scrollHeight;
  }

  #showLogs(on: boolean): void {
    this.#shown = on;
    this.#logs.setAttribute("aria-pressed", String(on));
    this.#desk.act("logs", { on });
    this.#desk.redraw();
  }
}

function of(memory: number, limit: number | null): string {
  return limit ? `${size(memory)} of ${size(limit)}` : size(memory);
}

function tunnelRow(): { el: HTMLElement; update(item: Tunnel): void } {
  const el = element("span", "tfnz-fact");
  const name = element("span", "tfnz-name");
  const link = new Link();
  el.append(name, link.el);
  return {
    el,
    update: (each) => {
      set(name, `port ${each.port}`);
      link.point(each.local, "", "");
    },
  };
}
