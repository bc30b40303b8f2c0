// Cards of a location and of a node.
import { number, plural, share, size } from "../../text/numbers.js";
import { element, set } from "../../look/status.js";
import { doing, tone } from "./card.js";
import type { Desk, Drawing } from "../desk.js";
import type { LocationInfo, Node, NodeInfo, Summary } from "../info.js";
import { Fact, type Row, Rows, mark } from "../parts.js";
import { type Column, ROW, Table, cell } from "../tables/table.js";

const COLUMNS: readonly Column[] = [
  ["", "container", "tfnz-c-name"],
  ["", "state", "tfnz-c-state"],
  ["", "image", "tfnz-c-wide"],
];

/** How much of something is in use: a bar and the words beside it. */
class Gauge {
  readonly el = element("span", "tfnz-gauge");
  readonly #bar = element("meter", "tfnz-meter");
  readonly #text = element("span", "");

  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
    this.el.append(element("span", "tfnz-name", name), this.#bar, this.#text);
  }

  say(free: number, whole: number, words: string): void {
    const used = whole > 0 ? Math.min(1, Math.max(0, 1 - free / whole)) : 0;
    this.#bar.value = used;
    this.#bar.title = `${this.#name}: ${share(used, 1)} in use`;
    mark(this.#bar, "tone", used > 0.9 ? "bad" : "good");
    set(this.#text, words);
  }
}

class NodeLine implements Row<Node> {
  readonly el = element("div", "tfnz-line");
  readonly #name = new Fact("node");
  readonly #cores = new Gauge("cores");
  readonly #memory = new Gauge("memory");
  readonly #run = element("span", "tfnz-dim");

  constructor(named: boolean) {
    if (named) this.el.append(this.#name.el);
    this.el.append(this.#cores.el, this.#memory.el, this.#run);
  }

  update(told: Node): void {
    const labels = Object.entries(told.labels).map(([key, value]) => `${key}: ${value}`);
    this.#name.say(told.name, labels.join("\n"));
    const { cpus, cpu_free, memory, memory_free, containers } = told;
    const cores = cpu_free === null ? "unknown" : `${number(cpu_free, 3, 1)} of ${cpus} free`;
    this.#cores.say(cpu_free ?? 0, cpus ?? 0, cores);
    const bytes = memory_free === null ? "unknown" : `${size(memory_free)} of ${size(memory ?? 0)} free`;
    this.#memory.say(memory_free ?? 0, memory ?? 0, bytes);
    set(this.#run, containers === null ? "" : `${plural(containers, "container")} running`);
  }
}

export class NodeCard implements Drawing<NodeInfo> {
  readonly actions: HTMLElement[] = [];
  readonly title: HTMLElement[];
  readonly body: HTMLElement[];
  readonly #name = element("span", "tfnz-title tfnz-strong");
  readonly #where = element("span", "tfnz-facts");
  readonly #line = new NodeLine(false);

  constructor(_desk: Desk) {
    this.title = [this.#name, this.#where];
    const nodes = element("div", "tfnz-nodes");
    nodes.append(this.#line.el);
    this.body = [nodes];
  }

  state(): { dot: string; text: string } {
    return { dot: "ok", text: "Node" };
  }

  update(told: NodeInfo): void {
    const labels = Object.entries(told.node.labels).map(([key, value]) => `${key}: ${value}`);
    set(this.#name, told.node.name, labels.join("\n"));
    set(this.#where, `of ${told.where}`);
    this.#line.update(told.node);
  }
}

export class LocationCard implements Drawing<LocationInfo> {
  readonly actions: HTMLElement[] = [];
  readonly title: HTMLElement[];
  readonly body: HTMLElement[];
  readonly #name = element("span", "tfnz-title tfnz-strong");
  readonly #engine = element("span", "tfnz-facts");
  readonly #session = element("span", "tfnz-facts");
  readonly #nodes: Rows<Node>;
  readonly #table: Table<Summary>;
  readonly #more = element("div", "tfnz-line tfnz-dim");

  constructor(desk: Desk) {
    this.title = [this.#name, this.#engine, this.#session];
    const nodes = element("div", "tfnz-nodes");
    this.#nodes = new Rows(nodes, (each) => each.name, () => new NodeLine(true));
    this.#table = new Table<Summary>(desk, "tfnz-summaries", COLUMNS, summaryRow);
    this.body = [nodes, this.#table.el, this.#more];
  }

  state(told: LocationInfo): { dot: string; text: string } {
    return told.connected ? { dot: "ok", text: "Location" } : { dot: "", text: "disconnected" };
  }

  update(told: LocationInfo): void {
    const about = Object.entries(told.about).map(([key, value]) => `${key}: ${value}`);
    set(this.#name, told.where, about.join("\n"));
    set(this.#engine, `${told.engine === told.where ? "" : `${told.engine} `}${told.version}`.trim(), about.join("\n"));
    const kept = told.durable ? "Its containers stay when the kernel ends." : "Its containers end with the kernel.";
    set(this.#session, `session ${told.session}${told.durable ? ", durable" : ""}`, kept);
    this.#nodes.update(told.nodes);
    this.#table.update(told.containers.map((item) => ({ key: item.id, height: ROW, item })));
    this.#table.el.hidden = told.containers.length === 0;
    this.#more.hidden = told.more === 0;
    set(this.#more, plural(told.more, "more container"));
  }
}

function summaryRow(): Row<Summary> {
  const el = element("tr", "tfnz-row");
  const name = cell("tfnz-c-name tfnz-strong");
  const does = cell("tfnz-does tfnz-c-state");
  const image = cell("tfnz-dim tfnz-c-wide");
  name.dir = "auto";
  el.append(name, does, image);
  return {
    el,
    update: (each) => {
      const { dot, text, hint } = doing(each);
      set(does, text, hint);
      mark(does, "tone", tone(dot));
      set(name, each.title, each.title);
      set(image, each.image, each.image);
    },
  };
}
