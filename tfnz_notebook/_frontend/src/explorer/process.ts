// A row for a process: what it is, how it does, and what can be done to it.
import { button, element, set } from "../status.js";
import { short } from "../words.js";
import type { Desk } from "./desk.js";
import type { Process } from "./info.js";
import { type Row, mark } from "./parts.js";

/** The cells of a process; a table places them. */
export class ProcessCells implements Row<Process> {
  readonly el = element("tr", "tfnz-row tfnz-process");
  readonly command = element("td", "tfnz-command");
  readonly state = element("td", "tfnz-does");
  readonly pid = element("td", "tfnz-number");
  readonly controls = element("td", "tfnz-controls");
  readonly #stop: HTMLButtonElement;
  readonly #kill: HTMLButtonElement;
  readonly #args: { container: string; process: string };
  #name = "";

  readonly #desk: Desk;

  constructor(
    desk: Desk,
    container: string,
    process: string,
  ) {
    this.#desk = desk;
    const args = (this.#args = { container, process });
    this.#stop = button("stop", "", () => desk.act("process.stop", args));
    this.#kill = button("kill", "", () => desk.act("process.kill", args));
    this.controls.append(this.#stop, this.#kill);
  }

  update(told: Process): void {
    const desk = this.#desk;
    const args = this.#args;
    const runs = told.returncode === null;
    const going = runs && (desk.pending("process.stop", args) || desk.pending("process.kill", args));
    set(this.command, told.text, told.text);
    set(this.pid, told.pid ? String(told.pid) : "");
    set(this.state, told.returncode === null ? (going ? "stopping…" : "running") : short(told.returncode, told.why));
    mark(this.state, "tone", runs ? "good" : told.returncode ? "bad" : "quiet");
    mark(this.el, "ended", String(!runs));
    if (this.#name !== told.text) {
      this.#name = told.text;
      label(this.#stop, `Stop ${told.text} with all it started: TERM, then KILL`);
      label(this.#kill, `Kill ${told.text} with all it started`);
    }
    // They keep their place when the process has ended: nothing moves beneath the pointer.
    for (const each of [this.#stop, this.#kill]) {
      each.style.visibility = runs ? "" : "hidden";
      each.disabled = desk.lost || (each === this.#stop && going);
    }
  }
}

export function label(target: HTMLElement, text: string): void {
  target.title = text;
  target.setAttribute("aria-label", text);
}
