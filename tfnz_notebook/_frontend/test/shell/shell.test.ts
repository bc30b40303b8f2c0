import assert from "node:assert/strict";
import { test } from "node:test";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import type { IUnicodeVersionProvider } from "@xterm/xterm";
import palette from "../../src/look/palette.css";
import { parsed, theme } from "../../src/shell/screen/palette.js";
import { Peers } from "../../src/shell/size/peers.js";
import { Beginning } from "../../src/shell/replay.js";
import type { Size } from "../../src/shell/screen/screen.js";
import { Sizing } from "../../src/shell/size/sizing.js";
import { Unicode11 } from "../../src/shell/screen/unicode.js";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (some: Uint8Array | undefined): string | undefined => some && new TextDecoder().decode(some);

// --- widths ------------------------------------------------------------------------------------------------------------

test("widths are those of the addon, for every code point", () => {
  let theirs: IUnicodeVersionProvider | undefined;
  const terminal = { unicode: { register: (provider: IUnicodeVersionProvider) => (theirs = provider) } };
  new Unicode11Addon().activate(terminal as never);
  const ours = new Unicode11();
  for (let point = 0; point < 0x110000; point += 1) {
    if (ours.wcwidth(point) !== theirs!.wcwidth(point)) assert.fail(`U+${point.toString(16)}: ${ours.wcwidth(point)}`);
  }
  for (const before of [0, ours.charProperties(0x61, 0), ours.charProperties(0x6f22, 0), ours.charProperties(0x301, 0)]) {
    for (const point of [0x61, 0x301, 0x200d, 0x6f22, 0x1f600, 0x1f3fd, 0xfe0f]) {
      assert.equal(ours.charProperties(point, before), theirs!.charProperties(point, before));
    }
  }
});

// --- replay ------------------------------------------------------------------------------------------------------------

test("a replay begins after the first line break", () => {
  const beginning = new Beginning();
  assert.equal(beginning.take(bytes("1;31mrest of a line")), undefined);
  assert.equal(text(beginning.take(bytes(" and its end\r\nnext"))), "next");
});

test("an ESC before the line break is not shown either: its line is not whole", () => {
  assert.equal(text(new Beginning().take(bytes("\x84m\x1b[1mhalf\nwhole\n"))), "whole\n");
});

test("without a line break it begins at an ESC, however the pieces fall", () => {
  const log = `\x9f2Hab${"\x1b[5;5Hpicture".repeat(2000)}`;
  const whole = bytes(log);
  for (const size of [1, 7, 4096, whole.length]) {
    const beginning = new Beginning();
    let shown: Uint8Array | undefined;
    let at = 0;
    while (shown === undefined && at < whole.length) {
      shown = beginning.take(whole.slice(at, at + size));
      at += size;
    }
    assert.ok(text(shown)!.startsWith("\x1b[5;5Hpicture\x1b"), `pieces of ${size}`);
  }
});

test("a replay that is over before a line break shows what begins at an ESC", () => {
  const beginning = new Beginning();
  assert.equal(beginning.take(bytes("junk\x1b[2Jx")), undefined);
  assert.equal(text(beginning.rest()), "\x1b[2Jx");
  assert.equal(new Beginning().rest(), undefined);
});

test("plain text without any end begins at a whole character", () => {
  const beginning = new Beginning();
  const piece = new Uint8Array(20000).fill(0x84);
  piece[18000] = 0x61;
  assert.equal(beginning.take(piece)![0], 0x61);
});

/** setTimeout by hand (node:test's own has another shape in each release). */
class Clock {
  #now = 0;
  #timers = new Map<number, { at: number; act: () => void }>();

  constructor(t: { after(act: () => void): void }) {
    const { setTimeout: set, clearTimeout: clear } = globalThis;
    t.after(() => Object.assign(globalThis, { setTimeout: set, clearTimeout: clear }));
    let count = 0;
    Object.assign(globalThis, {
      setTimeout: (act: () => void, ms = 0) => (this.#timers.set((count += 1), { at: this.#now + ms, act }), count),
      clearTimeout: (id: number) => this.#timers.delete(id),
    });
  }

  tick(ms: number): void {
    this.#now += ms;
    for (const [id, { at, act }] of [...this.#timers]) {
      if (at > this.#now) continue;
      this.#timers.delete(id);
      act();
    }
  }
}

// --- who says how large it is ------------------------------------------------------------------------------------------

function sizing(leads = true) {
  const state = { leads, told: [] as Size[], shown: [] as Size[] };
  const made = new Sizing(
    () => state.leads,
    (size) => state.told.push(size),
    (size) => state.shown.push(size),
  );
  return { state, made };
}
const at = (rows: number, columns: number): Size => ({ rows, columns });

test("the leader tells its size once, and is not misled by what the process says meanwhile", (t) => {
  const clock = new Clock(t);
  const { state, made } = sizing();
  made.fits(at(24, 80));
  made.fits(at(24, 80));
  made.heard(at(24, 100)); // an older word
  clock.tick(500);
  made.heard(at(24, 80));
  clock.tick(5000);
  assert.deepEqual(state.told, [at(24, 80)]);
  assert.deepEqual(state.shown.at(-1), at(24, 80));
  assert.ok(made.owns);
});

test("somebody else's size is shown, until this view is turned to", (t) => {
  const clock = new Clock(t);
  const { state, made } = sizing();
  made.fits(at(24, 80));
  made.heard(at(50, 132));
  clock.tick(2000);
  assert.deepEqual(state.shown.at(-1), at(50, 132));
  made.fits(at(24, 81)); // its room changes: not its business now
  assert.equal(state.told.length, 1);
  assert.ok(made.take());
  made.fits(at(24, 81));
  assert.deepEqual(state.told.at(-1), at(24, 81));
  assert.ok(!made.take());
});

test("a view that does not lead shows what the process has, and tells nothing", (t) => {
  const clock = new Clock(t);
  const { state, made } = sizing(false);
  made.heard(at(30, 90));
  assert.deepEqual(state.shown, [at(30, 90)]);
  made.heard(at(29, 90)); // a nudge
  made.heard(at(30, 90));
  clock.tick(1000);
  made.fits(at(24, 80));
  assert.deepEqual(state.shown, [at(30, 90), at(30, 90)]);
  assert.deepEqual(state.told, []);
});

test("a view that came without knowing better is put right", (t) => {
  const clock = new Clock(t);
  const { state, made } = sizing();
  made.fits(at(24, 80));
  made.insist();
  made.heard(at(30, 60));
  clock.tick(300);
  assert.deepEqual(state.told, [at(24, 80), at(24, 80)]);
  made.heard(at(24, 80));
  clock.tick(5000);
  assert.ok(made.owns);
});

// --- several views -----------------------------------------------------------------------------------------------------

/** A page's window, as far as peers want one. */
function inPage(): void {
  (globalThis as any).window ??= new EventTarget();
}

test("the first view leads, then the one that was turned to last, then who is left", (t) => {
  inPage();
  t.mock.method(Date, "now", () => 1_700_000_000_000); // all of them in one millisecond
  const ends = [new AbortController(), new AbortController(), new AbortController()];
  const changes: string[] = [];
  const views = ends.map(
    (end, index) => new Peers("subject", `view ${index}`, end.signal, (leads) => changes.push(`${index} ${leads}`)),
  );
  const other = new AbortController();
  // An open channel would keep the run from ending.
  t.after(() => [...ends, other].forEach((end) => end.abort()));
  const stranger = new Peers("another", "view", other.signal, () => assert.fail("not its business"));
  for (const each of [...views, stranger]) each.join();
  const leaders = (): string => views.map((each) => (each.leads ? "x" : "-")).join("");
  assert.equal(leaders(), "x--");
  views[1]!.take();
  assert.equal(leaders(), "-x-");
  views[2]!.take();
  assert.equal(leaders(), "--x");
  ends[2]!.abort();
  assert.equal(leaders().slice(0, 2), "-x");
  ends[1]!.abort();
  assert.equal(leaders()[0], "x");
  assert.ok(stranger.leads);
  assert.ok(changes.includes("1 true"));
});

// --- colours -----------------------------------------------------------------------------------------------------------

test("colours follow the page's ground", () => {
  assert.deepEqual(parsed("rgb(1, 2, 3)"), [1, 2, 3]);
  assert.equal(parsed("rgba(0, 0, 0, 0)"), undefined);
  assert.equal(parsed("transparent"), undefined);
  const light = theme("rgb(255, 255, 255)", "rgb(33, 33, 33)");
  const dark = theme("rgb(17, 17, 17)", "rgb(255, 255, 255)");
  assert.equal(light.background, "#ffffff");
  assert.equal(dark.background, "#111111");
  assert.notEqual(light.yellow, dark.yellow);
  assert.equal(Object.values({ ...light, ...dark }).filter((each) => !/^#[0-9a-f]{6}([0-9a-f]{2})?$/.test(each as string)).length, 0);
});

test("a terminal has the colours that output has, and saved ones", () => {
  assert.equal(theme("rgb(255, 255, 255)", "rgba(0, 0, 0, 0.87)").foreground, "#212121");
  const [light, dark] = palette.split("tfnz-dark").map((half) => [...half.matchAll(/--tfnz-a\d+: (#\w+)/g)].map(([, hex]) => hex));
  const names = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
  const all = [...names, ...names.map((name) => `bright${name[0]!.toUpperCase()}${name.slice(1)}`)];
  for (const [ground, colours] of [["rgb(255, 255, 255)", light], ["rgb(17, 17, 17)", dark]] as const) {
    const found = theme(ground, "rgb(128, 128, 128)") as Record<string, string>;
    const but = ground === "rgb(17, 17, 17)" ? ["black"] : []; // what is written upon the others
    for (const [index, name] of all.entries()) if (!but.includes(name)) assert.equal(found[name], colours?.[index], name);
  }
});
