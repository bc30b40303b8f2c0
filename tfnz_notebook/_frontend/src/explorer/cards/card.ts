// A container's card.
import { elapsed, percent, plural, progress, rate, size } from "../../text/numbers.js";
import { element, set } from "../../look/status.js";
import { short } from "../../text/words.js";
import { Controls } from "../controls.js";
import type { Desk, Drawing } from "../desk.js";
import type { Container, ContainerInfo, Process } from "../info.js";
import { Fact, type Row, Sparkline, label, word } from "../parts.js";
import { Ports } from "../ports.js";
import { ProcessCells, SaidRow, processLines } from "../tables/process.js";
import { type Column, type Line, ROW, Table } from "../tables/table.js";

/** What a container is doing, for the dot, in words, and what that means where it is not plain. */
export function doing(told: Pick<Container, "state" | "returncode">): { dot: string; text: string; hint?: string } {
  switch (told.state) {
    case "running":
      return { dot: "running", text: "running" };
    case "paused":
      return { dot: "paused", text: "paused", hint: "Its engine has stopped it for a while: Resume lets it go on." };
    case "unresponsive":
      return { dot: "lost", text: "unresponsive", hint: "It runs, but does not answer." };
    case "unreachable":
      return { dot: "lost", text: "unreachable", hint: "The machine that it is on does not answer." };
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

/** The tone of a state in a table. */
export function tone(dot: string): string {
  return { running: "good", bad: "bad", paused: "warn", lost: "warn" }[dot] ?? "quiet";
}

const COLUMNS: readonly Column[] = [
  ["", "process", "tfnz-c-name"],
  ["", "state", "tfnz-c-state"],
  ["", "pid", "tfnz-number tfnz-c-pid"],
  ["", "to do", "tfnz-controls tfnz-c-controls"],
];

export class Card implements Drawing<ContainerInfo> {
  readonly title: HTMLElement[];
  readonly actions: HTMLElement[];
  readonly body: HTMLElement[];
  readonly #name = element("span", "tfnz-title tfnz-strong");
  readonly #image = element("span", "tfnz-facts tfnz-clip tfnz-first-to-go");
  readonly #up = element("span", "tfnz-facts");
  readonly #logs: HTMLButtonElement;
  readonly #controls: Controls;

  /** A pull, until there is something to measure: they share their place. */
  readonly #pull = element("span", "tfnz-pull");
  readonly #progress = element("progress", "tfnz-progress");
  readonly #pulled = element("span", "tfnz-dim tfnz-clip");

  readonly #use = element("div", "tfnz-line tfnz-use");
  readonly #cpu = new Fact("CPU", "tfnz-cpu");
  readonly #memory = new Fact("memory", "tfnz-memory");
  readonly #pids = new Fact("pids", "tfnz-pids");
  readonly #disk = new Fact("disk", "tfnz-moved tfnz-disk");
  readonly #net = new Fact("network", "tfnz-moved tfnz-net");
  readonly #cpus = new Sparkline();
  readonly #memories = new Sparkline();

  readonly #line = element("div", "tfnz-line");
  readonly #facts = {
    id: new Fact("id"),
    called: new Fact("name", "tfnz-called"),
    tag: new Fact("tag", "tfnz-called"),
    engine: new Fact("engine", "tfnz-where"),
    node: new Fact("node", "tfnz-where"),
    ip: new Fact("address", "tfnz-where"),
  };
  readonly #ports: Ports;

  readonly #table: Table<Process>;
  readonly #more = element("div", "tfnz-line tfnz-dim");
  readonly #trouble = element("div", "tfnz-trouble");
  readonly #log = element("pre", "tfnz-log");
  #id = "";

  readonly #desk: Desk;

  constructor(desk: Desk) {
    this.#desk = desk;
    this.#logs = word("Logs", "Show the end of what the main process wrote", () => desk.show(this.#id, !desk.open(this.#id)), "lines");
    this.#logs.setAttribute("aria-pressed", "false");
    this.#logs.disabled = true;
    this.#controls = new Controls(desk, true);
    this.#name.dir = "auto";
    this.title = [this.#name, this.#image, this.#up];
    this.actions = [this.#logs, this.#controls.el];
    label(this.#progress, "how much of the image is here");
    this.#pull.append(this.#progress, this.#pulled);
    this.#cpu.value.before(this.#cpus.el);
    this.#memory.value.before(this.#memories.el);
    this.#use.append(this.#pull, ...[this.#cpu, this.#memory, this.#pids, this.#disk, this.#net].map((fact) => fact.el));
    this.#ports = new Ports(desk);
    this.#line.append(this.#ports.el, ...Object.values(this.#facts).map((fact) => fact.el));
    this.#log.tabIndex = 0; // scrolled by keyboard
    this.#log.setAttribute("role", "group");
    this.#log.setAttribute("aria-label", "last words");
    this.#table = new Table<Process>(desk, "tfnz-processes", COLUMNS, (line) => this.#row(line));
    this.body = [this.#use, this.#line, this.#table.el, this.#more, this.#trouble, this.#log];
    this.#more.hidden = this.#trouble.hidden = this.#log.hidden = true;
  }

  state(told: ContainerInfo): { dot: string; text: string; hint?: string } {
    return doing(told);
  }

  update(told: ContainerInfo): void {
    const desk = this.#desk;
    this.#id = told.id;
    this.#controls.update([told]);
    this.#logs.disabled = desk.lost || !told.processes.some((each) => each.main);
    this.#logs.setAttribute("aria-pressed", String(desk.open(told.id)));
    const running = told.state === "running";
    set(this.#name, told.title, told.title);
    set(this.#image, told.title === told.image ? "" : told.image, told.image);
    set(this.#up, running && told.created ? `up ${elapsed(desk.now() - told.created)}` : "");
    this.#updatePull(told);
    this.#updateUse(told);
    this.#facts.id.say((told.engine_id || told.id).slice(0, 12), told.engine_id && `At the engine; here it is ${told.id}`);
    this.#facts.called.say(told.engine_name === told.title ? "" : told.engine_name, told.engine_name);
    this.#facts.tag.say(told.tag === told.title ? "" : told.tag, told.tag);
    this.#facts.engine.say(told.engine, `At ${told.where}`);
    this.#facts.node.say(told.node);
    this.#facts.ip.say(told.ip);
    this.#ports.update(told);
    this.#table.el.hidden = told.processes.length === 0;
    this.#table.update(told.processes.flatMap((each) => processLines(desk, each, each, ROW)));
    this.#more.hidden = told.more === 0;
    set(this.#more, plural(told.more, "more process"));
    this.#updateLog(told);
  }

  #row(line: Line<Process>): Row<Process> {
    if (line.loose) return new SaidRow(this.#desk);
    const cells = new ProcessCells(this.#desk, this.#id, line.key);
    cells.el.append(cells.command, cells.state, cells.pid, cells.controls);
    return cells;
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

  /** Its places are kept from the first frame, so that no sample moves anything. */
  #updateUse({ usage, pull, state }: ContainerInfo): void {
    this.#use.hidden = state === "failed"; // it never used anything, or what it did is not to be had any more
    this.#use.classList.toggle("tfnz-past", state !== "running");
    const said: [Fact, string, string][] = [
      [this.#cpu, percent(usage?.cpu), ""],
      [this.#memory, usage?.memory != null ? of(usage.memory, usage.limit) : "", ""],
      [this.#pids, usage?.pids != null ? String(usage.pids) : "", "processes and threads"],
      [this.#disk, usage?.read != null ? `↓ ${rate(usage.read)}  ↑ ${rate(usage.written)}` : "", "read, written"],
      [this.#net, usage?.received != null ? `↓ ${rate(usage.received)}  ↑ ${rate(usage.sent)}` : "", "received, sent"],
    ];
    for (const [fact, text, title] of said) fact.say(pull ? "" : text || "–", title);
    this.#cpus.draw(usage?.cpus ?? [], 20);
    this.#memories.draw(usage?.memories ?? [], usage?.limit ?? 1.25 * (usage?.memory ?? 0));
  }

  #updateLog(told: ContainerInfo): void {
    set(this.#trouble, told.error);
    this.#trouble.hidden = told.error === "";
    const last = told.state === "failed" || (told.state === "exited" && Boolean(told.returncode));
    const words = last && !this.#desk.open(told.id) && !told.error.includes(told.log) ? told.log : "";
    set(this.#log, words);
    this.#log.hidden = words === "";
  }
}

function of(memory: number, limit: number | null): string {
  return limit ? `${size(memory)} of ${size(limit)}` : size(memory);
}
