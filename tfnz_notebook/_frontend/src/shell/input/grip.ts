// The bottom edge of the screen: drag it, or use the arrow keys on it, to have more rows.

/** An element to put below the screen. `height` is called with the wished height in pixels, `step` with ±1 row. */
export function grip(
  screen: HTMLElement,
  height: (pixels: number) => void,
  step: (rows: number) => void,
  signal: AbortSignal,
): HTMLElement {
  const element = document.createElement("div");
  element.className = "tfnz-shell-grip";
  element.tabIndex = 0;
  element.setAttribute("role", "separator");
  element.setAttribute("aria-orientation", "horizontal");
  element.setAttribute("aria-label", "Terminal height");
  element.title = "Drag for more rows";
  const tell = (): void => element.setAttribute("aria-valuenow", String(screen.clientHeight));
  tell();
  const observer = new ResizeObserver(tell);
  observer.observe(screen);
  signal.addEventListener("abort", () => observer.disconnect(), { once: true });
  element.addEventListener(
    "pointerdown",
    (down) => {
      down.preventDefault();
      element.setPointerCapture(down.pointerId);
      const before = screen.clientHeight - down.clientY;
      const move = (event: PointerEvent): void => height(before + event.clientY);
      element.addEventListener("pointermove", move, { signal });
      const end = (): void => element.removeEventListener("pointermove", move);
      element.addEventListener("pointerup", end, { once: true, signal });
      element.addEventListener("pointercancel", end, { once: true, signal });
    },
    { signal },
  );
  element.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
      event.preventDefault();
      event.stopPropagation();
      step(event.key === "ArrowDown" ? 1 : -1);
    },
    { signal },
  );
  return element;
}
