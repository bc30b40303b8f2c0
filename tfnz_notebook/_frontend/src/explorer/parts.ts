// Small things that cards and tables are made of. The page is touched only where something is new.
import { element, set } from "../status.js";

const SVG = "http://www.w3.org/2000/svg";

export function mark(target: HTMLElement, name: string, value: string): void {
  if (target.dataset[name] !== value) target.dataset[name] = value;
}

/** A button with a word in it. */
export function word(text: string, title: string, act: () => void): HTMLButtonElement {
  const made = element("button", "tfnz-button tfnz-word", text);
  made.type = "button";
  made.title = title;
  made.addEventListener("click", act);
  return made;
}

/** A name and a value beside it; hidden while the value is empty. */
export class Fact {
  readonly el = element("span", "tfnz-fact");
  readonly value = element("span", "tfnz-value");

  constructor(name: string, width = "") {
    this.el.append(element("span", "tfnz-name", name), this.value);
    if (width) this.value.style.minWidth = width;
    this.el.hidden = true;
  }

  say(text: string, title = ""): void {
    this.el.hidden = text === "";
    set(this.value, text, title);
  }
}

/** A curve of the last minutes, no larger than a word. */
export class Sparkline {
  readonly el = document.createElementNS(SVG, "svg");
  readonly #line = document.createElementNS(SVG, "polyline");
  #drawn = "";

  readonly #points: number;

  constructor(points = 60) {
    this.#points = points;
    this.el.setAttribute("class", "tfnz-spark");
    this.el.setAttribute("viewBox", `0 0 ${points - 1} 16`);
    this.el.setAttribute("preserveAspectRatio", "none");
    this.el.setAttribute("aria-hidden", "true");
    this.el.append(this.#line);
  }

  /** The newest value is at the right end; `top` is at least the height of the picture. */
  draw(values: readonly number[], top: number): void {
    const shown = values.slice(-this.#points);
    const high = Math.max(top, ...shown) || 1;
    const first = this.#points - shown.length;
    const drawn = shown.map((value, i) => `${first + i},${(15 - (14 * value) / high).toFixed(1)}`).join(" ");
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.#line.setAttribute("points", drawn);
  }
}

/** One row's element, and what brings it up to date. */
export interface Row<T> {
  el: HTMLElement;
  update(item: T): void;
}

/**
 * Rows by key, kept in the order of the items. A row whose item is gone stays, marked, while `held()` (somebody points at
 * it and would click on what comes up in its place), and goes with the next `update` after that.
 */
export class Rows<T> {
  readonly #rows = new Map<string, Row<T>>();

  readonly #parent: HTMLElement;
  readonly #key: (item: T) => string;
  readonly #make: (item: T) => Row<T>;
  readonly #held: () => boolean;

  constructor(
    parent: HTMLElement,
    key: (item: T) => string,
    make: (item: T) => Row<T>,
    held: () => boolean,
  ) {
    this.#parent = parent;
    this.#key = key;
    this.#make = make;
    this.#held = held;
  }

  update(items: readonly T[]): void {
    const left = new Set(this.#rows.keys());
    let after: Element | null = null;
    const held = this.#held();
    for (const item of items) {
      const key = this.#key(item);
      let row = this.#rows.get(key);
      const known = row !== undefined;
      if (!row) {
        row = this.#make(item);
        this.#rows.set(key, row);
      }
      left.delete(key);
      delete row.el.dataset["gone"];
      row.update(item);
      const place: Element | null = after ? after.nextElementSibling : this.#parent.firstElementChild;
      // Rows that are gone but still there are passed over; what is in order is not moved, which would take its focus.
      if (!known || (!held && row.el !== place)) this.#parent.insertBefore(row.el, this.#past(place));
      after = row.el;
    }
    for (const key of left) {
      const row = this.#rows.get(key) as Row<T>;
      if (held) {
        row.el.dataset["gone"] = "";
      } else {
        row.el.remove();
        this.#rows.delete(key);
      }
    }
  }

  #past(place: Element | null): Element | null {
    let here = place;
    while (here instanceof HTMLElement && "gone" in here.dataset) here = here.nextElementSibling;
    return here;
  }
}
