import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { Window } from "happy-dom";
import stills from "../../../tests/vectors/stills.json";
import text from "../../../tests/vectors/text.json";
import { draw, drawn } from "../src/output/draw.js";
import { type Row, type Still, clip, markup, plain, told } from "../src/still.js";

type Case = { rows?: unknown; many?: [number, number]; text: string; html: string; used: number | null };

function rowsOf(given: Case): Row[] {
  const [count, often] = given.many ?? [0, 0];
  const rows = given.many
    ? Array.from({ length: count }, (_, n) => [[[`row ${n} & `.repeat(often), { fg: n % 20 }]], n % 3 === 0])
    : (given.rows as unknown[]);
  return (rows as [[string, object][], boolean][]).map(([spans, stderr]) => ({
    spans: spans.map(([each, style]) => ({ text: each, style })), stderr,
  }));
}

const short = (made: string): string =>
  made.length <= 8000 ? made : `${[...made].length} ${createHash("sha256").update(made).digest("hex")}`;

test("what stays of some rows is what a kernel would make of them", () => {
  for (const each of stills.cases as unknown as Case[]) {
    const still = { ...each, used: each.used ?? undefined, rows: rowsOf(each) } as unknown as Still;
    assert.equal(short(markup(still, stills.templates)), each.html);
    assert.equal(short(plain(still)), each.text);
  }
});

test("texts that are too long", () => {
  for (const [given, most, expected] of text.clip as [string, number, string][]) assert.equal(clip(given, most), expected);
});

test("what was drawn into a page is read again, line by line", () => {
  const window = new Window();
  const real = { document: globalThis.document, Node: globalThis.Node };
  Object.assign(globalThis, { document: window.document, Node: window.Node });
  try {
    const el = document.createElement("div");
    const red = { fg: 1 };
    draw(el, [{ text: "a", style: {} }, { text: "b\nc", style: red }, { text: "\n\n", style: {} }]);
    draw(el, [{ text: "\u202e<d>", style: { bold: true } }]);
    assert.deepEqual([...drawn(el)], [
      [{ text: "a", style: {} }, { text: "b", style: red }],
      [{ text: "c", style: red }],
      [],
      [{ text: "<U+202E><d>", style: { bold: true } }],
    ]);
  } finally {
    Object.assign(globalThis, real);
  }
});

test("a status that is read later says nothing that ticks", () => {
  const info = { state: "running", command: " sh  -c\nx ", container: "box", started: 1, ran: null, returncode: null, out: 5, err: 3, now: 9 } as const;
  const said = { title: "sh -c x", called: "sh -c x in box" };
  assert.deepEqual(told(info, 0), { ...said, state: "starting", words: "running when last seen", facts: "8 B" });
  const over = { ...info, state: "ended", returncode: 3, ran: 65 } as const;
  assert.deepEqual(told(over, 0), { ...said, state: "bad", words: "exit 3", facts: "1 min 05 s \u00b7 8 B" });
});
