// When views touch the page: together, in one animation frame, first all that write, then all that measure, so that the
// page is laid out once; and so seldom that drawing takes a quarter of the page's time at most, however much comes. The
// more of them move, the less often each: what costs most is that the page shows a new frame.

export interface Painter {
  /** Puts into the page what is new, within so many ms, or asks again. */
  write(budget: number): void;
  /** Scrolls, measures. */
  settle(): void;
}

const SHARE = 4;
const GAP_MS = 66;
const GAP_EACH_MS = 50;
const GAP_MOST_MS = 200;
const BUDGET_MS = 12;
const LEAST_MS = 2;

const asked = new Set<Painter>();
let planned = false;
let notBefore = 0;

export function ask(painter: Painter): void {
  asked.add(painter);
  plan();
}

export function forget(painter: Painter): void {
  asked.delete(painter);
}

function plan(): void {
  if (planned || asked.size === 0) return;
  planned = true;
  const wait = notBefore - performance.now();
  if (wait > 4) setTimeout(() => requestAnimationFrame(run), wait);
  else requestAnimationFrame(run);
}

function run(): void {
  planned = false;
  const began = performance.now();
  const now = [...asked];
  asked.clear();
  const budget = Math.max(LEAST_MS, BUDGET_MS / now.length);
  for (const painter of now) painter.write(budget);
  for (const painter of now) painter.settle();
  const cost = performance.now() - began;
  const gap = Math.min(GAP_MS + GAP_EACH_MS * (now.length - 1), GAP_MOST_MS);
  notBefore = began + Math.max(gap, SHARE * cost);
  plan();
}
