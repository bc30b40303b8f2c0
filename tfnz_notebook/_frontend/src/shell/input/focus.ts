// The focus, when the page takes it by hiding what has it. Lab hides all of itself until the next frame when it changes
// its theme; where that frame is late, the browser has by then taken the focus from what is hidden, and what is typed
// next would be commands of the notebook.

/** So long, in ms, it may be hidden and still be what the user was typing into. */
const PATIENCE = 2000;

const shown = (element: HTMLElement): boolean => element.getClientRects().length > 0;

/** When `box` loses the focus because it is hidden, call `focus` once it is shown again, if nothing else has it then. */
export function keepFocus(box: HTMLElement, focus: () => void, signal: AbortSignal): void {
  const lost = (event: FocusEvent): void => {
    if (event.relatedTarget !== null || shown(box)) return;
    const until = performance.now() + PATIENCE;
    const again = (): void => {
      if (signal.aborted || document.activeElement !== document.body || performance.now() > until) return;
      if (shown(box)) focus();
      else requestAnimationFrame(again);
    };
    requestAnimationFrame(again);
  };
  box.addEventListener("focusout", lost, { signal });
}
