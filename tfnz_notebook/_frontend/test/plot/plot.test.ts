import assert from "node:assert/strict";
import { test } from "node:test";
import text from "../../../../tests/vectors/text.json";
import { Axis, type Linked } from "../../src/plot/axis.js";
import { extremes } from "../../src/plot/numbers.js";
import { Rows } from "../../src/plot/rows.js";
import { bounds, clock, human, labels, step, ticks, timeStep } from "../../src/plot/units.js";

const examples = text.plot;

// --- units: the same examples hold tfnz_notebook/plots/units.py -------------------------------------------------------

const near = (found: number[], expected: number[]): void => {
  assert.equal(found.length, expected.length);
  found.forEach((value, index) => {
    const wanted = expected[index] as number;
    assert.ok(Math.abs(value - wanted) <= 1e-9 * Math.abs(wanted), `${found} for ${expected}`);
  });
};

test("numbers with their units are those of Python", () => {
  for (const [value, unit, text] of examples.human as [number | null, string, string][]) assert.equal(human(value, unit), text);
  for (const [ticks, unit, texts] of examples.labels as [number[], string, string[]][]) assert.deepEqual(labels(ticks, unit), texts);
  assert.equal(human(NaN, "B"), "-");
  assert.equal(human(undefined), "-");
});

test("ticks and bounds are those of Python", () => {
  for (const [low, high, most, unit, distance] of examples.step as [number, number, number, string, number][]) {
    near([step(low, high, most, unit)], [distance]);
  }
  for (const [span, most, distance] of examples.time_step as [number, number, number][]) near([timeStep(span, most)], [distance]);
  for (const [low, high, distance, found] of examples.ticks as [number, number, number, number[]][]) {
    near(ticks(low, high, distance), found);
  }
  for (const [low, high, unit, found] of examples.bounds as [number | null, number | null, string, number[]][]) {
    near(bounds(low ?? NaN, high ?? NaN, unit), found);
  }
});

test("ticks of bytes are round where they are read", () => {
  for (const [low, high, texts] of examples["axes in bytes"] as [number, number, string[]][]) {
    assert.deepEqual(labels(ticks(...bounds(low, high, "B")), "B"), texts);
  }
});

test("however odd the numbers, an axis has few ticks", () => {
  for (const high of [1e-300, 1e300, 1e-9, 3, Infinity, NaN]) {
    for (const unit of ["", "%", "B", "s", "B/s"]) {
      const [low, top, distance] = bounds(0, high, unit);
      assert.ok(top > low && distance > 0, `${high} ${unit}`);
      assert.ok(ticks(low, top, distance).length <= 12, `${high} ${unit}`);
    }
  }
  assert.ok(ticks(0, 1e9, 1).length <= 100);
});

test("hours are as fine as their ticks", () => {
  const noon = new Date(2026, 10, 23, 12, 34, 56).getTime() / 1000;
  assert.equal(clock(noon, 60), "12:34");
  assert.equal(clock(noon, 5), "12:34:56");
  assert.equal(clock(noon + 0.25, 0.25), "12:34:56.25");
  assert.equal(clock(noon, 0.5), "12:34:56");
});

// --- rows -------------------------------------------------------------------------------------------------------------

/** Rows of x = number, and a column of its tenfold. */
function cells(from: number, count: number): Float64Array {
  return Float64Array.from({ length: count * 2 }, (_, i) => (from + (i >> 1)) * (i % 2 ? 10 : 1));
}
const xs = (rows: Rows): number[] => Array.from({ length: rows.length }, (_, index) => rows.x(index));

test("rows join on, and what is known is dropped", () => {
  const rows = new Rows();
  rows.add(5, 2, cells(5, 3));
  rows.add(8, 2, cells(8, 2));
  rows.add(7, 2, cells(7, 5)); // 7 to 9 again
  rows.add(6, 2, cells(6, 2)); // nothing new
  assert.deepEqual(xs(rows), [5, 6, 7, 8, 9, 10, 11]);
  assert.deepEqual([rows.first, rows.end, rows.last], [5, 12, 11]);
  assert.deepEqual([...(rows.slice(1, 2, 4) as Float64Array)], [70, 80]);
  assert.equal(rows.newest(1), 110);
});

test("older rows, and those after a gap, begin anew", () => {
  const rows = new Rows();
  rows.add(50, 2, cells(50, 10));
  rows.add(20, 2, cells(20, 3)); // a longer window
  assert.deepEqual(xs(rows), [20, 21, 22]);
  rows.add(23, 2, cells(23, 1));
  rows.add(90, 2, cells(90, 2));
  assert.deepEqual(xs(rows), [90, 91]);
});

test("a new column has no values before", () => {
  const rows = new Rows();
  rows.add(0, 2, cells(0, 2));
  rows.add(2, 3, Float64Array.from([2, 20, 7]));
  rows.add(3, 2, cells(3, 1)); // sent before the kernel's table widened
  assert.deepEqual([...(rows.slice(2, 0, 4) as number[])], [null, null, 7, null]);
  assert.deepEqual([...(rows.slice(1, 0, 4) as Float64Array)], [0, 10, 20, 30]);
  assert.deepEqual(rows.slice(9, 0, 2), [null, null]);
  assert.equal(rows.newest(2), 7);
});

test("no value is null, and a column without gaps is not copied", () => {
  const rows = new Rows();
  rows.add(0, 3, Float64Array.from([0, NaN, 1, 1, 5, 2]));
  assert.deepEqual(rows.slice(1, 0, 2), [null, 5]);
  assert.ok(rows.slice(2, 0, 2) instanceof Float64Array);
});

test("a row is found by its x", () => {
  const rows = new Rows();
  rows.add(0, 2, cells(0, 100));
  assert.deepEqual([rows.at(-5), rows.at(42), rows.at(42.5), rows.at(1000)], [0, 42, 43, 100]);
});

test("it is bounded, and keeps the newest", () => {
  const rows = new Rows();
  const most = (2 << 20) / 8 / 2;
  let at = 0;
  for (const size of [1, 700, 20_000, 1, 60_000, 60_000, 60_000, 300_000, 3]) {
    rows.add(at, 2, cells(at, size));
    at += size;
    assert.ok(rows.length <= most);
    assert.equal(rows.end, at);
    assert.equal(rows.last, at - 1);
    assert.equal(rows.x(0), rows.first);
    assert.equal(rows.value(1, 0), rows.first * 10);
  }
  assert.equal(rows.length, most);
  assert.equal(rows.first, at - most);
});

test("what is malformed adds nothing", () => {
  const rows = new Rows();
  rows.add(0, 0, cells(0, 1));
  rows.add(0, 5, cells(0, 1));
  assert.equal(rows.length, 0);
  assert.ok(Number.isNaN(rows.last));
  assert.ok(Number.isNaN(rows.newest(0)));
});

// --- several plots, and their numbers ---------------------------------------------------------------------------------

class Member implements Linked {
  heard: string[] = [];
  constructor(readonly newest: number) {}
  moved(): void {
    this.heard.push("moved");
  }
  told(): void {}
  paused(on: boolean): void {
    this.heard.push(`paused ${on}`);
  }
  window(seconds: number): void {
    this.heard.push(`window ${seconds}`);
  }
  point(x: number | null): void {
    this.heard.push(`point ${x}`);
  }
}

test("linked plots show the same moments", () => {
  const axis = new Axis();
  const [one, two, empty] = [new Member(100), new Member(160), new Member(NaN)];
  for (const each of [one, one, two, empty]) axis.add(each);
  assert.ok(axis.several);
  assert.equal(axis.newest, 160);
  axis.link(true, 30);
  axis.zoomed([10, 20]);
  axis.point(one, 15);
  axis.pause(true);
  assert.deepEqual(one.heard, ["window 30", "moved", "moved", "paused true"]);
  assert.deepEqual(two.heard, ["window 30", "moved", "moved", "point 15", "paused true"]);
  assert.deepEqual(axis.zoom, [10, 20]);
  axis.choose(60);
  assert.equal(axis.zoom, null, "another window is no part of it");
  axis.delete(two);
  axis.delete(empty);
  assert.ok(!axis.several && !axis.on, "one alone is not linked");
});

test("there is nothing behind the last row", () => {
  const rows = new Rows();
  rows.add(0, 2, Float64Array.of(7, 5));
  assert.deepEqual([rows.x(0), rows.value(1, 0)], [7, 5]);
  assert.deepEqual([rows.x(1), rows.value(1, 1), rows.x(-1)], [NaN, NaN, NaN]);
});

test("what a column was: least, most, mean; without the rows that say nothing", () => {
  const rows = new Rows();
  rows.add(0, 2, Float64Array.of(0, 5, 1, NaN, 2, 7, 3, 3));
  assert.deepEqual(extremes(rows, 1, 0, 4), { low: 3, high: 7, mean: 5 });
  assert.deepEqual(extremes(rows, 1, 0, 2), { low: 5, high: 5, mean: 5 });
  assert.equal(extremes(rows, 1, 1, 2), undefined);
});
