// The keys belong to the terminal while it has the focus.
import type { Terminal } from "@xterm/xterm";

/** What the hint says. Escape itself, with whatever else, is the terminal's. */
export const LEAVE = "Ctrl+Alt+Esc";

/** What keys do that are not the process's: give the focus back, search. */
export interface Own {
  leave(): void;
  find(): void;
}

/** Keep keys from the page, and know those that are not the process's. */
export function keys(root: HTMLElement, terminal: Terminal, own: Own, signal: AbortSignal): void {
  // Lumino listens on the document, before anything here; this attribute is what it looks for. The other one keeps
  // Lab's context menu away, so that the browser's own, with Copy and Paste, comes.
  root.setAttribute("data-lm-suppress-shortcuts", "true");
  root.setAttribute("data-jp-suppress-context-menu", "");
  // A notebook's own handlers (edit and command mode) sit on the ancestors.
  for (const type of ["keydown", "keypress", "keyup", "beforeinput", "input", "copy", "cut", "paste"]) {
    root.addEventListener(type, (event) => event.stopPropagation(), { signal });
  }
  terminal.attachCustomKeyEventHandler((event) => {
    const { ctrlKey, shiftKey, altKey, metaKey, type } = event;
    const down = type === "keydown";
    if (event.key === "Escape" && ctrlKey && (altKey || shiftKey)) {
      event.preventDefault();
      if (down) own.leave();
      return false;
    }
    // As in JupyterLab's own terminal: what is selected is copied, else it is the process's interrupt.
    if (ctrlKey && !shiftKey && !altKey && !metaKey) {
      if (event.code === "KeyC" && terminal.hasSelection()) return false; // the browser's own copy follows
      if (event.code === "KeyV") return false; // and its paste
    }
    if ((ctrlKey || metaKey) && shiftKey && !altKey && event.code === "KeyF") {
      event.preventDefault();
      if (down) own.find();
      return false;
    }
    if (ctrlKey && shiftKey && !altKey && !metaKey) {
      if (event.code === "KeyC") {
        event.preventDefault(); // or the browser opens its inspector
        // Works on pages without TLS too, where there is no navigator.clipboard.
        if (down && terminal.hasSelection()) document.execCommand("copy");
        return false;
      }
      // The browser's own "paste as plain text" follows, and brings a paste event.
      if (event.code === "KeyV") return false;
    }
    if (metaKey && event.code === "KeyS") {
      event.preventDefault(); // the notebook's shortcut is off, and nobody wants to save the page
      return false;
    }
    return true;
  });
  // The next Ctrl+C is the process's again.
  root.addEventListener("copy", () => setTimeout(() => terminal.clearSelection()), { capture: true, signal });
  // Over a full-screen program, the wheel is its arrow keys: not for who only scrolls the notebook.
  terminal.attachCustomWheelEventHandler(() => root.contains(document.activeElement));
}

/** Focus what the terminal is in: the cell, or the notebook. */
export function leave(root: HTMLElement): void {
  const focused = root.ownerDocument.activeElement;
  const around = root.closest<HTMLElement>(".jp-Cell, .jp-Notebook, [tabindex]");
  around?.focus({ preventScroll: true });
  if (focused instanceof HTMLElement && root.ownerDocument.activeElement === focused) focused.blur();
}
