// Where one types what a table's rows are to hold.
import { element } from "../../look/status.js";
import { label } from "../parts.js";

export class Filter {
  readonly el = element("input", "tfnz-filter");
  #words: string[] = [];

  constructor(changed: () => void) {
    this.el.type = "search";
    this.el.placeholder = "filter";
    this.el.setAttribute("data-lm-suppress-shortcuts", "true");
    label(this.el, "Show only rows with these words");
    this.el.addEventListener("input", () => {
      this.#words = this.el.value.toLowerCase().split(/\s+/).filter(Boolean);
      changed();
    });
    this.el.addEventListener("keydown", (event) => event.stopPropagation()); // its keys are not the notebook's
  }

  /** Whether each word is in one of these texts. */
  passes(...texts: readonly string[]): boolean {
    return this.#words.every((word) => texts.some((text) => text.toLowerCase().includes(word)));
  }
}
