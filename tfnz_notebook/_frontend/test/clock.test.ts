// Views that count seconds cost a page one frame a second, however many there are, and none that nobody sees.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Window } from "happy-dom";
import { Clock } from "./time.js";

const window = new Window();
const sights = new Map<unknown, (seen: boolean) => void>();
Object.assign(globalThis, {
  document: window.document,
  IntersectionObserver: class {
    constructor(private readonly told: (entries: { isIntersecting: boolean }[]) => void) {}
    observe(el: unknown): void {
      sights.set(el, (isIntersecting) => this.told([{ isIntersecting }]));
    }
    disconnect(): void {}
  },
});

const { tick } = await import("../src/look/clock.js");
const { Status } = await import("../src/look/status.js");

let clock: Clock;
let now = 0; // ms since the page began
const real = performance.now;
beforeEach(() => {
  clock = new Clock();
  clock.install();
  performance.now = () => now;
});
afterEach(() => {
  clock.restore();
  performance.now = real;
});
const pass = (ms: number): void => {
  now += ms;
  clock.tick(ms);
};

test("whenever they began, all tick on the page's whole seconds", () => {
  const ticks: string[] = [];
  const one = (): void => void ticks.push(`one ${now}`);
  const two = (): void => void ticks.push(`two ${now}`);
  now = 12_345;
  tick(true, one);
  pass(500);
  tick(true, two);
  pass(155);
  assert.deepEqual(ticks, ["one 13000", "two 13000"]);
  pass(1000);
  tick(false, one);
  pass(1000);
  assert.deepEqual(ticks.slice(2), ["one 14000", "two 14000", "two 15000"]);
  tick(false, two);
  pass(5000);
  assert.equal(ticks.length, 5);
});

test("a status line counts while it is seen and its process runs; what arrives is shown with the next tick", () => {
  const status = new Status();
  const shown = (): string => status.el.querySelector(".tfnz-facts")!.textContent!;
  const see = sights.get(status.el)!;
  const info = { state: "running", command: "x", returncode: null, started: 1000, ran: null, out: 0, err: 0, now: 6000 } as const;
  now = 20_000;
  see(true);
  status.update(info);
  assert.equal(shown(), "5 s · 0 B");
  status.count(2048);
  assert.equal(shown(), "5 s · 0 B");
  pass(1000);
  assert.equal(shown(), "6 s · 2 KiB");
  see(false);
  pass(3000);
  assert.equal(shown(), "6 s · 2 KiB");
  see(true);
  assert.equal(shown(), "9 s · 2 KiB");
  status.update({ ...info, state: "ended", returncode: 0, ran: 12, out: 2048 });
  status.count(4096);
  assert.equal(shown(), "12 s · 4 KiB");
  pass(3000);
  assert.equal(shown(), "12 s · 4 KiB");
  status.dispose();
});

test("a view that is drawn again says at once how much was written, and never less as it catches up", () => {
  const status = new Status();
  const shown = (): string => status.el.querySelector(".tfnz-facts")!.textContent!;
  const info = { state: "running", command: "x", returncode: null, started: 1000, ran: null, out: 0, err: 0, now: 6000 } as const;
  sights.get(status.el)!(true);
  status.count(2048);
  status.update(info);
  assert.equal(shown(), "5 s · 2 KiB");
  status.count(10);
  pass(1000);
  assert.equal(shown(), "6 s · 2 KiB");
  status.dispose();
});
