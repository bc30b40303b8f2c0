// For who does not see the screen: its lines as text that a screen reader walks, and what is new read out.
//
// That costs each line, so it is asked for, once: the button is the first thing that Tab finds at a terminal, is seen
// only then, and what it says counts for every terminal of this browser.
import type { Terminal } from "@xterm/xterm";
import { element } from "../look/status.js";

const KEPT = "tfnz-read-out";

function kept(): boolean {
  try {
    return localStorage.getItem(KEPT) === "yes";
  } catch {
    return false; // a page that keeps nothing
  }
}

function keep(on: boolean): void {
  try {
    localStorage.setItem(KEPT, on ? "yes" : "no");
  } catch {
    // then it counts for this page
  }
}

/** The button for it. */
export function reading(terminal: Terminal, signal: AbortSignal): HTMLElement {
  const ask = element("button", "tfnz-shell-reading", "Read the terminal out");
  ask.type = "button";
  const say = (on: boolean): void => {
    terminal.options.screenReaderMode = on;
    ask.setAttribute("aria-pressed", String(on));
  };
  say(kept());
  ask.addEventListener("click", () => {
    const on = ask.getAttribute("aria-pressed") !== "true";
    keep(on);
    window.dispatchEvent(new CustomEvent(KEPT, { detail: on })); // each terminal's module is its own
  });
  window.addEventListener(KEPT, (event) => say((event as CustomEvent<boolean>).detail), { signal });
  return ask;
}
