// What may be chosen: how far back is shown, and which columns are. Native controls: they work by keyboard everywhere.
import { count, duration } from "../text/numbers.js";
import { element } from "../look/status.js";
import type { Info } from "../plot.js";

const WINDOWS = [30, 60, 300];
const ROWS = [100, 1000, 10_000];

export class Choosers {
  readonly window = element("select", "");
  readonly button = element("button", "tfnz-button", "Columns");
  readonly panel = element("div", "tfnz-plot-columns");
  #offered = "";
  #listed = "";
  #shown: string[] = [];

  constructor(
    choose: (seconds: number) => void,
    private readonly select: (names: string[]) => void,
  ) {
    this.window.title = "How far back is shown";
    this.window.setAttribute("aria-label", this.window.title);
    this.window.addEventListener("change", () => choose(Number(this.window.value)));
    // The notebook's shortcuts would take the letters and arrows that choose here.
    for (const each of [this.window, this.panel]) each.setAttribute("data-lm-suppress-shortcuts", "true");
    this.button.type = "button";
    this.button.title = "Choose the columns shown";
    this.button.addEventListener("click", () => this.#open(this.panel.hidden));
    this.panel.setAttribute("role", "group");
    this.panel.setAttribute("aria-label", "Columns");
    this.panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.#open(false);
      this.button.focus();
    });
    this.#open(false);
  }

  #open(on: boolean): void {
    this.panel.hidden = !on;
    this.button.setAttribute("aria-expanded", String(on));
    this.button.setAttribute("aria-pressed", String(on));
  }

  update(info: Info): void {
    this.#offer(info);
    this.#list(info);
  }

  #offer({ x, x_name, window }: Info): void {
    const usual = x === "time" ? WINDOWS : x_name === "row" ? ROWS : [];
    const sizes = [...new Set([...usual, ...(window > 0 ? [window] : [])])].sort((a, b) => a - b);
    const offered = JSON.stringify([x, sizes]);
    if (offered !== this.#offered) {
      this.#offered = offered;
      const name = (size: number): string =>
        x !== "time" ? count(size) : duration(size);
      this.window.replaceChildren(...[...sizes, 0].map((size) => new Option(size ? name(size) : "all", String(size))));
    }
    this.window.value = String(window);
  }

  #list({ columns, order }: Info): void {
    this.#shown = order.flatMap((index) => columns[index]?.name ?? []);
    const listed = JSON.stringify(columns.map(({ name, unit, shown }) => [name, unit, shown]));
    if (listed === this.#listed) return;
    this.#listed = listed;
    const focused = (document.activeElement as HTMLInputElement | null)?.value;
    const boxes = columns.map(({ name, unit, shown }) => {
      const label = element("label", "");
      const box = element("input", "");
      box.type = "checkbox";
      box.value = name;
      box.checked = shown;
      box.addEventListener("change", () => this.#chosen(box));
      label.append(box, name);
      if (unit) label.append(element("small", "", unit));
      return label;
    });
    const within = this.panel.contains(document.activeElement);
    this.panel.replaceChildren(...boxes);
    if (within) this.#boxes().find((box) => box.value === focused)?.focus();
    this.button.hidden = columns.length === 0;
  }

  #boxes(): HTMLInputElement[] {
    return [...this.panel.querySelectorAll("input")];
  }

  #chosen(box: HTMLInputElement): void {
    // Those that stay keep their order; a new one comes last.
    const names = this.#shown.filter((name) => name !== box.value);
    if (box.checked) names.push(box.value);
    if (names.length > 0) this.select(names);
    else box.checked = true; // one line at least
  }
}
