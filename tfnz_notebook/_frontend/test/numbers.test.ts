// Numbers, endings and columns in words: the same examples hold Python's _base/numbers.py, widgets/status.py, _base/text.py.
import assert from "node:assert/strict";
import { test } from "node:test";
import text from "../../../tests/vectors/text.json";
import { count, duration, elapsed, number, percent, plural, progress, rate, share, size } from "../src/text/numbers.js";
import { columns } from "../src/text/widths.js";
import { type ProcessInfo, ending, short } from "../src/text/words.js";

/** Each example is what a function is given, and last what it says. */
function same(examples: unknown[][], said: (...given: any[]) => unknown): void {
  for (const example of examples) {
    const given = example.slice(0, -1);
    assert.equal(said(...given), example.at(-1), JSON.stringify(example));
  }
}

test("numbers are those of Python", () => {
  same(text.number, number);
  same(text.count, count);
  same(text.plural, plural);
  same(text.size, size);
  same(text.rate, rate);
  same(text.percent, percent);
  same(text.progress, progress);
  same(text.share, share);
  same(text.duration, duration);
  same(text.elapsed, elapsed);
});

test("what is not known is not said", () => {
  for (const unknown of [NaN, Infinity, -Infinity, undefined]) {
    assert.deepEqual([size(unknown), rate(unknown), percent(unknown), duration(unknown)], ["", "", "", ""]);
  }
});

test("endings are those of Python", () => {
  for (const [returncode, why, long, brief] of text.endings as [number, string, string, string][]) {
    const info = { state: "ended", returncode, timed_out: why === "timeout", oom: why === "memory" } as ProcessInfo;
    assert.equal(ending(info).text, long);
    assert.equal(short(returncode, why), brief);
    assert.equal(ending(info).ok, long === "exit 0");
  }
});

test("columns are those of Python", () => {
  const width = (said: string): number => [...said].reduce((sum, each) => sum + columns(each.codePointAt(0) as number), 0);
  same(text.columns, width);
});
