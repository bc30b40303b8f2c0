import assert from "node:assert/strict";
import { test } from "node:test";
import { type Changes, Weave } from "../../src/output/weave.js";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const start = (from: number[], head: number[]) => head.map((end, n) => ({ stream: n + 1, from: from[n]!, head: end }));

/** Puts text of a stream in pieces of a size. */
function put(weave: Weave, stream: number, text: string, from = 0, size = 1000): void {
  for (let at = 0; at < text.length; at += size) {
    const piece = bytes(text.slice(at, at + size));
    weave.put({ stream, bytes: piece, left: 0, upto: from + at + piece.length });
  }
}

function taken(weave: Weave): string {
  let found = "";
  for (let piece = weave.take(); piece; piece = weave.take()) found += new TextDecoder().decode(piece.bytes);
  return found;
}

const CHANGES: Changes = [[1, 0], [2, 0], [1, 2], [2, 3], [1, 5]];

test("what was written before is in the order of its writing, however it comes", () => {
  for (const size of [1, 2, 1000]) {
    const weave = new Weave();
    weave.begin(start([0, 0], [6, 4]), CHANGES);
    put(weave, 2, "ABCD", 0, size);
    assert.equal(taken(weave), "", "stdout began");
    put(weave, 1, "abcdef", 0, size);
    assert.equal(taken(weave), "abABCcdeDf");
    assert.ok(weave.empty);
    put(weave, 2, "E", 4);
    put(weave, 1, "g", 6);
    assert.equal(taken(weave), "Eg", "then as it comes");
  }
});

test("what is live waits for what was written before it", () => {
  const weave = new Weave();
  weave.begin(start([0, 0], [2, 2]), [[2, 0], [1, 0]]);
  put(weave, 1, "abc");
  assert.equal(taken(weave), "");
  put(weave, 2, "AB");
  assert.equal(taken(weave), "ABabc");
});

test("a replay that begins in the middle, and one where a view goes on", () => {
  const weave = new Weave();
  weave.begin(start([3, 1], [6, 4]), CHANGES);
  put(weave, 1, "def", 3);
  put(weave, 2, "BCD", 1);
  assert.equal(taken(weave), "BCdeDf");
  weave.begin(start([6, 4], [8, 6]), [...CHANGES, [2, 4], [1, 6]]);
  put(weave, 1, "gh", 6);
  put(weave, 2, "EF", 4);
  assert.equal(taken(weave), "EFgh");
});

test("what was left out, or does not come, is not waited for", () => {
  const weave = new Weave();
  weave.begin(start([0, 0], [6, 4]), CHANGES);
  put(weave, 2, "ABCD");
  weave.put({ stream: 1, bytes: bytes("f"), left: 5, upto: 6 });
  assert.equal(taken(weave), "fABCD");
  const ended = new Weave();
  ended.begin(start([0, 0], [6, 4]), CHANGES);
  put(ended, 2, "ABCD");
  ended.end(1);
  assert.equal(taken(ended), "ABCD");
  const closed = new Weave();
  closed.begin(start([0, 0], [6, 4]), CHANGES);
  put(closed, 2, "AB");
  closed.end();
  assert.equal(taken(closed), "AB");
});

test("without a word on the order pieces are as they came", () => {
  const weave = new Weave();
  weave.begin(start([0, 0], [2, 2]), []);
  put(weave, 2, "AB");
  put(weave, 1, "ab");
  assert.equal(taken(weave), "ABab");
});
