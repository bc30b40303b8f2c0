// A finger scrolls the terminal, row by row: xterm.js 6 leaves that to nobody. What it cannot scroll is the notebook's.
import type { Terminal } from "@xterm/xterm";

export function fingers(box: HTMLElement, terminal: Terminal, signal: AbortSignal): void {
  let from: number | undefined; // where the finger was when the last row went by
  box.addEventListener(
    "touchstart",
    ({ touches }) => (from = touches.length === 1 ? touches[0]!.clientY : undefined),
    { passive: true, signal },
  );
  box.addEventListener(
    "touchmove",
    (event) => {
      const screen = box.querySelector(".xterm-screen");
      if (from === undefined || event.touches.length !== 1 || !screen) return;
      const height = screen.clientHeight / terminal.rows;
      const way = from - event.touches[0]!.clientY;
      const { type, viewportY, baseY } = terminal.buffer.active;
      const full = type === "alternate";
      if (!full && (way < 0 ? viewportY === 0 : viewportY === baseY)) {
        from = undefined; // and stays so: browsers ask once whose a gesture is
        return;
      }
      event.preventDefault();
      const rows = Math.trunc(way / height);
      from -= rows * height;
      if (!full) terminal.scrollLines(rows);
      // A full-screen program hears it as it does a wheel.
      else if (rows) screen.dispatchEvent(new WheelEvent("wheel", { deltaY: rows, deltaMode: 1, bubbles: true, cancelable: true }));
    },
    { passive: false, signal },
  );
}
