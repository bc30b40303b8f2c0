// The line under the output that goes to the process's stdin.
import { element } from "../look/status.js";

const HISTORY = 100;

export class StdinLine {
  readonly el = element("form", "tfnz-stdin");
  private readonly input = element("input", "");
  private readonly past: string[] = [];
  private at = 0;

  constructor(send: (bytes: Uint8Array) => void, end: () => void) {
    const label = element("label", "", "stdin");
    this.input.type = "text";
    this.input.autocomplete = "off";
    this.input.spellcheck = false;
    this.input.setAttribute("autocapitalize", "off");
    this.input.setAttribute("aria-label", "A line for the process's stdin");
    label.append(this.input);
    label.style.display = "contents";
    const submit = element("button", "tfnz-button tfnz-word", "Send");
    submit.type = "submit";
    submit.title = "Send the line (Enter)";
    const eof = element("button", "tfnz-button tfnz-word", "EOF");
    eof.type = "button";
    eof.title = "End stdin: the process reads the end of its input";
    this.el.append(label, submit, eof);
    // Keys belong to the line: neither the notebook's shortcuts nor its cells hear them.
    this.el.setAttribute("data-lm-suppress-shortcuts", "true");
    for (const type of ["keydown", "keyup", "keypress", "paste"]) {
      this.el.addEventListener(type, (event) => event.stopPropagation());
    }
    this.el.addEventListener("submit", (event) => {
      event.preventDefault();
      const line = this.input.value;
      if (line && this.past[this.past.length - 1] !== line) this.past.push(line);
      if (this.past.length > HISTORY) this.past.shift();
      this.at = this.past.length;
      this.input.value = "";
      send(new TextEncoder().encode(`${line}\n`));
    });
    eof.addEventListener("click", () => {
      this.input.disabled = submit.disabled = eof.disabled = true;
      this.input.placeholder = "ended";
      end();
    });
    this.input.addEventListener("keydown", (event) => {
      const step = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : 0;
      if (step === 0) return;
      event.preventDefault();
      this.at = Math.min(this.past.length, Math.max(0, this.at + step));
      this.input.value = this.past[this.at] ?? "";
    });
  }

  focus(): void {
    this.input.focus();
  }
}
