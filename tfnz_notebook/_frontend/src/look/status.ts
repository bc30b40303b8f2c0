// The status line of a process's view, and the buttons in it. Output views and shells look alike through this.
import { tick } from "./clock.js";
import type { CarrierKind } from "../hub.js";
import { duration, elapsed, size } from "../text/numbers.js";
import { type ProcessInfo, ending } from "../text/words.js";

/** Shapes on a 16 by 16 grid. */
const ICONS = {
  stop: "M4 4h8v8H4z",
  kill: "M4.1 3 8 6.9 11.9 3 13 4.1 9.1 8l3.9 3.9-1.1 1.1L8 9.1 4.1 13 3 11.9 6.9 8 3 4.1z",
  input: "M1 3h14v10H1zm1.4 1.4v7.2h11.2V4.4zM4 5.7 6.6 8 4 10.3l-.8-.9L4.800 8 3.200 6.600zM7.500 9.200H12v1.200H7.500z",
  down: "M7.300 2h1.400v8.300l3.100-3.100 1 1L8 13 3.200 8.200l1-1 3.100 3.100z",
  pause: "M4 3h3v10H4zm5 0h3v10H9z",
  play: "M4 2.500 13 8l-9 5.500z",
  lines: "M2 3h12v1.400H2zm0 4.300h12v1.400H2zm0 4.300h8v1.400H2z",
} as const;
export type Icon = keyof typeof ICONS;

const SVG = "http://www.w3.org/2000/svg";

export function icon(name: Icon): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  path.setAttribute("fill-rule", "evenodd");
  svg.append(path);
  return svg;
}

/** An element with a class, and text that is only ever text. */
export function element<K extends keyof HTMLElementTagNameMap>(tag: K, name: string, text = ""): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text) made.textContent = text;
  return made;
}

export function button(name: Icon, title: string, act: () => void): HTMLButtonElement {
  const made = element("button", "tfnz-button");
  made.type = "button";
  made.title = title;
  made.setAttribute("aria-label", title);
  made.append(icon(name));
  made.addEventListener("click", act);
  return made;
}

const LOST = "not connected";
const ATTACH = "the kernel is gone: %tf_attach shows it again";
const NOTE_MS = 12_000;

export class Status {
  readonly el = element("div", "tfnz-status");
  /** At the right end, for the view's buttons. */
  readonly actions = element("div", "tfnz-actions");
  private readonly title = element("span", "tfnz-title");
  private readonly state = element("span", "tfnz-state");
  private readonly facts = element("span", "tfnz-facts");
  private readonly hint = element("span", "tfnz-hint");
  private readonly note = element("span", "tfnz-note");
  private info: ProcessInfo | undefined;
  private heardAt = 0;
  private carrier: CarrierKind | undefined;
  private gone = "";
  private bytes = 0;
  private noteTimer: ReturnType<typeof setTimeout> | undefined;
  private seen = false;
  private readonly redraw = (): void => this.draw();
  private readonly sight = new IntersectionObserver((entries) => this.sighted(entries.some((each) => each.isIntersecting)));

  /** `title`: what it is called until its command is known. */
  constructor(private readonly named: string = "") {
    this.el.append(element("span", "tfnz-dot"), this.state, this.title, this.facts, this.hint, this.note);
    this.el.append(element("span", "tfnz-space"), this.actions);
    this.el.setAttribute("role", "group");
    this.state.setAttribute("role", "status"); // read out when it changes; the ticking beside it is not
    this.note.setAttribute("role", "alert");
    this.sight.observe(this.el);
    this.draw();
  }

  /** The process's state from the desk. */
  update(info: ProcessInfo): void {
    this.info = info;
    this.heardAt = performance.now();
    this.wind();
    this.draw();
  }

  /** What was written, or reached this view, where that is more than the desk said last: the clock shows it with its
   * next tick. */
  count(bytes: number): void {
    this.bytes = Math.max(this.bytes, bytes);
    if (!this.running) this.draw();
  }

  carried(kind: CarrierKind): void {
    this.carrier = kind;
    this.draw();
  }

  /** The desk has nothing (more): why. */
  closed(text: string): void {
    this.gone = text || "The process is not known any more.";
    this.wind();
    this.draw();
  }

  /** A sentence for people; goes away after a while. */
  say(text: string): void {
    clearTimeout(this.noteTimer);
    this.note.textContent = text;
    this.note.title = text;
    if (text) this.noteTimer = setTimeout(() => this.say(""), NOTE_MS);
  }

  dispose(): void {
    clearTimeout(this.noteTimer);
    this.sight.disconnect();
    tick(false, this.redraw);
  }

  private sighted(seen: boolean): void {
    this.seen = seen;
    this.wind();
    this.draw();
  }

  /** The clock ticks for who is seen, and runs. */
  private wind(): void {
    tick(this.seen && this.running, this.redraw);
  }

  get over(): boolean {
    return this.info?.state === "ended" || this.info?.state === "gone" || this.gone !== "";
  }

  private get running(): boolean {
    return !this.gone && this.info?.state === "running";
  }

  private draw(): void {
    const { info } = this;
    let state = "starting";
    let words = info ? "starting" : "";
    let hint = "";
    if (info && (info.state === "ended" || info.state === "gone")) {
      const { text, ok } = ending(info);
      state = ok ? "ok" : "bad";
      words = text;
    } else if (this.gone) {
      state = "lost";
      words = "gone";
      hint = this.gone;
    } else if (this.carrier === "none") {
      state = "lost";
      words = LOST;
      hint = ATTACH;
    } else if (info?.state === "running") {
      state = "running";
      words = "running";
    }
    const facts = [];
    if (info) {
      if (info.ran !== null) facts.push(duration(info.ran));
      else if (info.started > 0) facts.push(elapsed(this.ran(info)));
      facts.push(size(Math.max(info.out + info.err, this.bytes)));
    }
    const called = this.named || info?.command || "";
    const where = info?.container ? ` in ${info.container}` : "";
    set(this.title, called, `${called}${where}`);
    set(this.state, words);
    set(this.facts, facts.join(" · "));
    set(this.hint, hint, hint);
    if (this.el.dataset["state"] !== state) this.el.dataset["state"] = state;
  }

  private ran(info: ProcessInfo): number {
    const since = this.running && this.carrier !== "none" ? performance.now() - this.heardAt : 0;
    return (info.now - info.started + since) / 1000;
  }
}

/** Text and title of an element: the page is only touched where something is new. */
export function set(target: HTMLElement, text: string, title = ""): void {
  if (target.textContent !== text) target.textContent = text;
  if (target.title !== title) target.title = title;
}
