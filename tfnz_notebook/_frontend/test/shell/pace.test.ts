import assert from "node:assert/strict";
import { test } from "node:test";

import { Pace } from "../../src/shell/pace.js";

/** A flood that the terminal takes at so many bytes a second, for so many seconds. */
function flood(pace: Pace, rate: number, seconds: number, from = 0): number {
  let now = from;
  for (const end = from + 1000 * seconds; now < end; now += 10) pace.took(rate / 100, now);
  return now;
}

test("what is under way is what the terminal takes in a moment", () => {
  const pace = new Pace();
  pace.path = "direct";
  const now = flood(pace, 2_000_000, 2);
  assert.ok(Math.abs(pace.window - 120_000) < 15_000, String(pace.window));
  flood(pace, 500_000, 2, now);
  assert.ok(Math.abs(pace.window - 30_000) < 5_000, String(pace.window));
});

test("it is bounded", () => {
  const pace = new Pace();
  let now = flood(pace, 900_000_000, 3);
  assert.ok(pace.window <= 512 * 1024 && pace.window > 500 * 1024, String(pace.window));
  now = flood(pace, 100, 5, now);
  assert.ok(pace.window >= 64 * 1024 && pace.window < 65 * 1024, String(pace.window));
});

test("a pause says nothing of the rate", () => {
  const pace = new Pace();
  const now = flood(pace, 2_000_000, 2);
  const before = pace.window;
  for (let key = 1; key < 50; key++) pace.took(1, now + 1000 * key);
  assert.equal(pace.window, before);
});
