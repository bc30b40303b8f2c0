// The legend: each line's colour, name and number; a click hides the line. Under the mouse, the numbers of that row.
import { element } from "../look/status.js";
import type { Line } from "./chart.js";

/** Between updates of the newest numbers: nobody reads faster, and each one is a layout. */
const PAUSE_MS = 250;

type Value = (line: number) => string;

export class Legend {
  readonly el = element("div", "tfnz-plot-legend");
  readonly #where = element("span", "tfnz-plot-at");
  /** What is under the pointer, for who moved it with keys and hears it. */
  readonly spoken = element("span", "tfnz-spoken");
  #numbers: Text[] = [];
  readonly #hidden = new Set<string>();
  #newest: Value | undefined;
  #hovering = false;
  #notBefore = 0;
  #wait: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly toggled: (line: number, visible: boolean) => void) {
    this.el.append(this.#where, this.spoken);
    this.spoken.setAttribute("aria-live", "polite");
  }

  visible(name: string): boolean {
    return !this.#hidden.has(name);
  }

  update(lines: Line[]): void {
    this.#numbers = lines.map(() => document.createTextNode(""));
    this.el.replaceChildren(...lines.map((line, index) => this.#entry(line, index)), this.#where, this.spoken);
    this.#notBefore = 0;
  }

  #entry(line: Line, index: number): HTMLButtonElement {
    const made = element("button", "tfnz-series");
    made.type = "button";
    made.title = `Hide or show ${line.name}`;
    const mark = element("i", "");
    mark.style.setProperty("--tfnz-color", line.color);
    const value = element("b", "");
    value.append(this.#numbers[index] as Text);
    made.append(mark, element("span", "", line.name), value);
    const tell = (): void => made.setAttribute("aria-pressed", String(this.visible(line.name)));
    tell();
    made.addEventListener("click", () => {
      if (!this.#hidden.delete(line.name)) this.#hidden.add(line.name);
      tell();
      this.toggled(index, this.visible(line.name));
    });
    return made;
  }

  /** The newest numbers, shown while the mouse is nowhere. Called with each drawing, and written with one: between two of
   * them they would be a frame of their own. */
  values(now: number, value: Value): void {
    this.#newest = value;
    clearTimeout(this.#wait);
    if (this.#hovering) return;
    if (now >= this.#notBefore) {
      this.#notBefore = now + PAUSE_MS;
      this.#write(value);
    } else { // unless this was the last one
      this.#wait = setTimeout(() => this.#write(value), 2 * PAUSE_MS);
    }
  }

  /** The numbers under the mouse; none: the newest again. */
  at(where: string, value: Value | undefined): void {
    const hovered = value !== undefined;
    if (!hovered && !this.#hovering) return;
    this.#hovering = hovered;
    clearTimeout(this.#wait);
    this.#where.textContent = where;
    const shown = value ?? this.#newest;
    if (shown) this.#write(shown);
  }

  #write(value: Value): void {
    this.#numbers.forEach((text, index) => {
      const said = value(index);
      if (text.data !== said) text.data = said;
    });
  }
}
