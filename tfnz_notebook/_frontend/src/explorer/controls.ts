// What can be done to a container: stop, and destroy after a second click.
import { button, element, set } from "../status.js";
import type { Desk } from "./desk.js";
import type { Container } from "./info.js";
import { word } from "./parts.js";
import { label } from "./process.js";

export class Controls {
  readonly el = element("span", "tfnz-group");
  readonly #stop: HTMLButtonElement;
  readonly #destroy: HTMLButtonElement;
  readonly #sure = element("span", "tfnz-sure");
  readonly #question = element("span", "");
  readonly #yes: HTMLButtonElement;
  #name = "";

  /** `words`: buttons with words in them (a card), or only shapes (a table's row). */
  readonly #desk: Desk;
  readonly #args: { container: string };
  readonly #words: boolean;

  constructor(
    desk: Desk,
    args: { container: string },
    words: boolean,
  ) {
    this.#desk = desk;
    this.#args = args;
    this.#words = words;
    const stop = (): void => desk.act("stop", args);
    this.#stop = words ? word("Stop", "", stop) : button("stop", "", stop);
    const ask = (): void => this.#ask(true);
    this.#destroy = words ? word("Destroy", "", ask) : button("kill", "", ask);
    this.#yes = word("Destroy", "Destroy it now with all its processes", () => {
      this.#ask(false);
      desk.act("destroy", args);
    });
    this.#yes.classList.add("tfnz-danger");
    this.#sure.append(this.#question, this.#yes, word("Keep", "Do not destroy it", () => this.#ask(false)));
    this.#sure.hidden = true;
    this.#sure.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation(); // the notebook would leave the cell
      this.#ask(false);
    });
    this.el.append(this.#stop, this.#destroy, this.#sure);
  }

  update(told: Container): void {
    const desk = this.#desk;
    const args = this.#args;
    const main = told.processes.some((each) => each.main && each.returncode === null && each.pid > 0);
    const going = desk.pending("destroy", args);
    const over = told.state === "destroyed";
    const stops = main && told.state === "running";
    this.#stop.style.visibility = stops ? "" : "hidden"; // a table's columns stay
    this.#stop.hidden = this.#words && !stops;
    this.#stop.disabled = desk.lost || going || desk.pending("stop", args);
    this.#destroy.hidden = over || !this.#sure.hidden;
    this.#destroy.disabled = this.#yes.disabled = desk.lost || going;
    if (over && !this.#sure.hidden) this.#ask(false);
    if (this.#name !== told.title) {
      this.#name = told.title;
      label(this.#stop, `Stop ${told.title}: end its main process with TERM, then KILL`);
      label(this.#destroy, `Destroy ${told.title} …`);
      set(this.#question, `Destroy ${told.title.length > 24 ? "it" : told.title}?`);
    }
  }

  #ask(on: boolean): void {
    this.#sure.hidden = !on;
    this.#destroy.hidden = on;
    (on ? this.#yes : this.#destroy).focus();
    this.#desk.redraw();
  }
}
