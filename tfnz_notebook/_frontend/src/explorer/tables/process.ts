// Rows for a process: what it is, how it does, what can be done to it; and beneath it what it wrote.
import { button, element, set } from "../../look/status.js";
import { short } from "../../text/words.js";
import type { Desk } from "../desk.js";
import type { Process, Said } from "../info.js";
import { type Row, label, mark } from "../parts.js";
import { type Line, cell } from "./table.js";

/** Lines of a process's output that are seen without scrolling, and their height. */
const MOST = 10;
const LINE = 17;
const AROUND = 9;

/** The cells of a process; a table places them. */
export class ProcessCells implements Row<Process> {
  readonly el = element("tr", "tfnz-row tfnz-process");
  readonly command = cell("tfnz-c-name");
  readonly state = cell("tfnz-does tfnz-c-state");
  readonly pid = cell("tfnz-number tfnz-c-pid");
  readonly controls = cell("tfnz-controls tfnz-c-controls");
  readonly #open = element("button", "tfnz-open");
  readonly #stop: HTMLButtonElement;
  readonly #kill: HTMLButtonElement;
  readonly #id: string;

  readonly #desk: Desk;

  constructor(desk: Desk, container: string, process: string) {
    this.#desk = desk;
    this.#id = process;
    const args = { container, process };
    this.#stop = button("stop", "", () => desk.act("process.stop", args, [process]));
    this.#kill = button("kill", "", () => desk.act("process.kill", args, [process]));
    this.controls.append(this.#stop, this.#kill);
    this.#open.type = "button";
    this.#open.dir = "auto";
    this.#open.addEventListener("click", () => desk.show(process, !desk.open(process)));
    this.command.append(this.#open);
  }

  update(told: Process): void {
    const desk = this.#desk;
    const runs = told.returncode === null && told.why !== "gone";
    const going = runs && (desk.pending("process.stop", this.#id) || desk.pending("process.kill", this.#id));
    set(this.#open, told.text, told.text);
    const open = String(desk.open(this.#id));
    if (this.#open.getAttribute("aria-expanded") !== open) this.#open.setAttribute("aria-expanded", open);
    set(this.pid, told.pid ? String(told.pid) : "");
    set(this.state, told.returncode !== null ? short(told.returncode, told.why) : !runs ? "ended" : going ? "stopping…" : "running");
    mark(this.state, "tone", runs ? "good" : told.returncode ? "bad" : "quiet");
    mark(this.el, "ended", String(!runs));
    label(this.#stop, `Stop ${told.text} with all it started: TERM, then KILL`);
    label(this.#kill, `Kill ${told.text} with all it started`);
    // They keep their place when the process has ended: nothing moves beneath the pointer.
    this.#stop.disabled = !runs || desk.lost || going;
    this.#kill.disabled = !runs || desk.lost;
  }
}

/** The rows of a process: itself, and what it wrote if that is shown. */
export function processLines<T>(desk: Desk, process: Process, item: T, height: number): Line<T>[] {
  const lines: Line<T>[] = [{ key: process.id, height, item }];
  if (desk.open(process.id)) lines.push({ key: `${process.id}/said`, height: tall(desk.said(process.id)), item, loose: true });
  return lines;
}

function tall(said: Said | undefined): number {
  const lines = (said ?? []).reduce((sum, [, text]) => sum + text.split("\n").length, 0);
  return AROUND + LINE * Math.min(MOST, Math.max(1, lines));
}

/** What a process wrote. */
export class SaidRow {
  readonly el = element("tr", "tfnz-said");
  readonly #log = element("pre", "tfnz-log");
  #shown: Said | undefined | null = null;

  readonly #desk: Desk;

  constructor(desk: Desk) {
    this.#desk = desk;
    // One cell, wider than its column: to span them all would bring back those that have no room.
    const whole = cell("");
    this.#log.tabIndex = 0; // scrolled by keyboard
    this.#log.setAttribute("role", "group");
    whole.append(this.#log);
    this.el.append(whole);
  }

  update(process: Process): void {
    const said = this.#desk.said(process.id);
    label(this.#log, `What ${process.text} wrote last`);
    this.#log.removeAttribute("title");
    if (said === this.#shown) return;
    this.#shown = said;
    const log = this.#log;
    const below = log.scrollHeight - log.scrollTop - log.clientHeight < 8;
    log.style.height = `${tall(said) - 1}px`;
    log.replaceChildren(
      ...(said ?? []).map(([stream, text]) => element("span", stream === 2 ? "tfnz-err" : "", `${text}\n`)),
    );
    if (!said?.length) log.append(element("span", "tfnz-dim", said ? "It has written nothing." : "…"));
    if (below) log.scrollTop = log.scrollHeight;
  }
}
