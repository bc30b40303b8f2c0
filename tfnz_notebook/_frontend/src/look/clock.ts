// The clock of what counts seconds. It ticks on the page's whole seconds: views of several kinds, whose bundles share
// nothing, change in one frame, and not each in one of its own.

const SECOND = 1000;
/** A timer may fire this much too early, and is not to fire twice for that. */
const EARLY = 20;

const ticking = new Set<() => void>();
let next: ReturnType<typeof setTimeout> | undefined;

/** Has `act` called each second, or no more. */
export function tick(on: boolean, act: () => void): void {
  if (on) ticking.add(act);
  else ticking.delete(act);
  if (ticking.size > 0) {
    next ??= plan();
  } else {
    clearTimeout(next);
    next = undefined;
  }
}

function plan(): ReturnType<typeof setTimeout> {
  const wait = SECOND - (performance.now() % SECOND);
  return setTimeout(run, wait < EARLY ? wait + SECOND : wait);
}

function run(): void {
  next = plan();
  for (const act of [...ticking]) act();
}
