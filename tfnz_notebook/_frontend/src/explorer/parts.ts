// Small things that cards and tables are made of. The page is touched only where something is new.
import { type Icon, element, icon, set } from "../look/status.js";

const SVG = "http://www.w3.org/2000/svg";

export function mark(target: HTMLElement, name: string, value: string): void {
  if (target.dataset[name] !== value) target.dataset[name] = value;
}

/** What a button, or another control, is called. */
export function label(target: HTMLElement, text: string): void {
  if (target.title === text) return;
  target.title = text;
  target.setAttribute("aria-label", text);
}

/** A button with a word in it; with a shape as well, which is all of it where the view is narrow. */
export function word(text: string, title: string, act: () => void, shape?: Icon): HTMLButtonElement {
  const made = element("button", "tfnz-button tfnz-word");
  made.type = "button";
  if (shape) made.append(icon(shape));
  made.append(element("span", "", text));
  label(made, title);
  made.addEventListener("click", act);
  return made;
}

/** A name and a value beside it. What is not known yet keeps its place; what never comes (empty) has none. */
export class Fact {
  readonly el: HTMLElement;
  readonly value = element("span", "tfnz-value");

  constructor(name: string, kind = "") {
    this.el = element("span", `tfnz-fact ${kind}`);
    this.value.dir = "auto";
    this.el.append(element("span", "tfnz-name", name), this.value);
    this.el.hidden = true;
  }

  say(text: string, title = ""): void {
    this.el.hidden = text === "";
    set(this.value, text, title);
  }
}

/** A curve of the last minutes over its ground line, no larger than a word. */
export class Sparkline {
  readonly el = document.createElementNS(SVG, "svg");
  readonly #line = document.createElementNS(SVG, "polyline");
  readonly #area = document.createElementNS(SVG, "polygon");
  #drawn = "";

  readonly #points: number;

  constructor(points = 60) {
    this.#points = points;
    this.el.setAttribute("class", "tfnz-spark");
    this.el.setAttribute("viewBox", `0 0 ${points - 1} 16`);
    this.el.setAttribute("preserveAspectRatio", "none");
    this.el.setAttribute("aria-hidden", "true");
    this.el.append(this.#area, this.#line);
  }

  /** The newest value is at the right end; `top` is at least the height of the picture. */
  draw(values: readonly number[], top: number): void {
    const shown = values.slice(-this.#points);
    const high = Math.max(top, ...shown) || 1;
    const first = this.#points - shown.length;
    const drawn = shown.map((value, i) => `${first + i},${(15 - (13 * value) / high).toFixed(1)}`).join(" ");
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.#line.setAttribute("points", drawn);
    this.#area.setAttribute("points", `${first},16 ${drawn} ${this.#points - 1},16`);
  }
}

/** One row's element, and what brings it up to date. */
export interface Row<T> {
  el: HTMLElement;
  update(item: T): void;
}

/** Rows by key, in the order of the items; those whose item is gone go. */
export class Rows<T> {
  readonly #rows = new Map<string, Row<T>>();

  readonly #parent: HTMLElement;
  readonly #key: (item: T) => string;
  readonly #make: (item: T) => Row<T>;

  constructor(parent: HTMLElement, key: (item: T) => string, make: (item: T) => Row<T>) {
    this.#parent = parent;
    this.#key = key;
    this.#make = make;
  }

  update(items: readonly T[]): void {
    const left = new Set(this.#rows.keys());
    for (const item of items) left.delete(this.#key(item));
    for (const key of left) {
      this.#rows.get(key)?.el.remove();
      this.#rows.delete(key);
    }
    let place = this.#parent.firstElementChild;
    for (const item of items) {
      const key = this.#key(item);
      let row = this.#rows.get(key);
      if (!row) this.#rows.set(key, (row = this.#make(item)));
      row.update(item);
      // What is in order is not moved, which would take its focus.
      if (row.el === place) place = place.nextElementSibling;
      else this.#parent.insertBefore(row.el, place);
    }
  }
}
