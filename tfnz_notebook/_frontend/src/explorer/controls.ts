// What can be done to containers: stop, pause, and destroy after a second click. One container's, or those that are chosen.
// All of it is always in its place: what cannot be done now is dim.
import { button, element, set } from "../look/status.js";
import type { Desk } from "./desk.js";
import type { Container } from "./info.js";
import { label, word } from "./parts.js";

/** Those from which a container goes on. */
const STOPS = new Set(["running"]);
const OVER = new Set(["destroyed", "failed", "exited"]);

export class Controls {
  readonly el = element("span", "tfnz-group");
  readonly #stop: HTMLButtonElement;
  readonly #pause: HTMLButtonElement | undefined;
  readonly #destroy: HTMLButtonElement;
  readonly #sure = element("span", "tfnz-sure");
  readonly #name = element("bdi", "");
  readonly #yes: HTMLButtonElement;
  #ids: string[] = [];
  #paused = false;

  readonly #desk: Desk;

  /** `words`: buttons with words in them, and all of them; or only shapes (a table's row). */
  constructor(desk: Desk, words: boolean, pausing = words) {
    this.#desk = desk;
    const act = (name: string) => (): void => desk.act(name, { containers: this.#ids }, this.#ids);
    this.#stop = words ? word("Stop", "Stop", act("stop"), "stop") : button("stop", "Stop", act("stop"));
    if (pausing) {
      this.#pause = word("Pause", "Pause", () => act(this.#paused ? "unpause" : "pause")(), "pause");
      this.#pause.classList.add("tfnz-pause");
    }
    const ask = (): void => this.#ask(true);
    this.#destroy = words ? word("Destroy", "Destroy …", ask, "kill") : button("kill", "Destroy …", ask);
    this.#yes = word("Destroy", "Destroy now, with all processes", () => {
      this.#ask(false);
      act("destroy")();
    });
    this.#yes.classList.add("tfnz-danger");
    const question = element("span", "tfnz-clip");
    question.append("Destroy ", this.#name, "?");
    this.#sure.append(question, this.#yes, word("Keep", "Do not destroy", () => this.#ask(false)));
    this.#sure.hidden = true;
    this.#sure.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation(); // the notebook would leave the cell
      this.#ask(false);
    });
    this.el.append(...(this.#pause ? [this.#pause] : []), this.#stop, this.#destroy, this.#sure);
    this.update([]);
  }

  update(told: readonly Container[]): void {
    const desk = this.#desk;
    if (this.#sure.hidden) this.#ids = told.map((each) => each.id); // what was asked about is what is destroyed
    const name = told.length === 1 ? (told[0] as Container).title : told.length ? `${told.length} containers` : "containers";
    const free = told.filter((each) => !desk.pending("destroy", each.id));
    const stops = free.filter((each) => STOPS.has(each.state) && hasMain(each) && !desk.pending("stop", each.id));
    this.#stop.disabled = desk.lost || stops.length === 0;
    this.#destroy.disabled = this.#yes.disabled = desk.lost || !free.some((each) => each.state !== "destroyed");
    if (told.length === 1 && told[0]?.state === "destroyed" && !this.#sure.hidden) this.#ask(false);
    label(this.#stop, `Stop ${name}: end ${told.length > 1 ? "their main processes" : "its main process"} with TERM, then KILL`);
    label(this.#destroy, `Destroy ${name} …`);
    if (this.#sure.hidden) set(this.#name, name);
    this.#updatePause(told, name);
  }

  #updatePause(told: readonly Container[], name: string): void {
    const pause = this.#pause;
    if (!pause) return;
    const states = told.map((each) => each.state);
    this.#paused = states.length > 0 && states.every((each) => each === "paused");
    const asked = told.some((each) => this.#desk.pending("pause", each.id) || this.#desk.pending("unpause", each.id));
    pause.disabled = this.#desk.lost || asked || !(this.#paused || states.includes("running"));
    set(pause.lastElementChild as HTMLElement, this.#paused ? "Resume" : "Pause");
    label(pause, this.#paused ? `Resume ${name}: let it go on` : `Pause ${name}: stop its time for a while`);
  }

  #ask(on: boolean): void {
    this.#sure.hidden = !on;
    (on ? this.#yes : this.#destroy).focus();
    this.#desk.redraw();
  }
}

function hasMain(told: Container): boolean {
  return told.processes.some((each) => each.main && each.returncode === null && each.pid > 0);
}

/** Whether nothing goes on in it. */
export function over(told: Pick<Container, "state">): boolean {
  return OVER.has(told.state);
}
