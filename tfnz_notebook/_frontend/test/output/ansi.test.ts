// Output as text: what is shown of it, wherever the chunks are cut, and that what is not to be seen is inert.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Window } from "happy-dom";
import text from "../../../../tests/vectors/text.json";
import { Ansi, type Sink, type Style, sgr, visible } from "../../src/output/ansi.js";
import { Pen } from "../../src/output/pen.js";
import { MOST_LINES, MOST_SIZE, Transcript } from "../../src/output/transcript.js";

const window = new Window();
Object.assign(globalThis, { document: window.document, Node: window.Node });

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

class Shown {
  readonly box = document.createElement("div");
  readonly transcript = new Transcript(this.box);

  write(text: string | Uint8Array, stream = 1, left = 0): this {
    this.transcript.write(stream, typeof text === "string" ? encode(text) : text, left);
    this.transcript.flush();
    return this;
  }

  get text(): string {
    return [...this.box.children].map((block) => block.textContent).join("");
  }

  get spans(): [string, string][] {
    return [...this.box.querySelectorAll(".tfnz-block > span[style]")].map((el) => [
      el.textContent ?? "",
      el.getAttribute("style") ?? "",
    ]);
  }
}

/** The same text whole, and byte by byte with a frame after each. */
function both(text: string | Uint8Array, wanted: string): void {
  const bytes = typeof text === "string" ? encode(text) : text;
  assert.equal(new Shown().write(bytes).text, wanted);
  const cut = new Shown();
  for (const byte of bytes) cut.write(Uint8Array.of(byte));
  assert.equal(cut.text, wanted, "in single bytes");
}

// --- the same examples hold widgets/saved/ansi.py ----------------------------------------------------------------------

type Span = [string, Record<string, unknown>];

/** The lines of one stream, as the examples have them. */
class Lines implements Sink {
  readonly found: Span[][] = [];
  readonly #pen = new Pen();

  text(text: string, style: Style): void {
    this.#pen.write(text, style);
  }
  move(): void {}
  newline(): void {
    this.found.push(
      this.#pen.take().map(({ text, style }) => {
        const set = Object.entries(style).filter(([, value]) => value !== undefined && value !== false);
        return [visible(text), Object.fromEntries(set)];
      }),
    );
  }
  carriageReturn(): void {
    this.#pen.home();
  }
  backspace(): void {
    this.#pen.back();
  }
  tab(style: Style): void {
    this.#pen.tab(style);
  }
  erase(how: number): void {
    this.#pen.erase(how);
  }
  column(number: number): void {
    this.#pen.column(number);
  }
}

function lines(bytes: Uint8Array, piece: number): Span[][] {
  const sink = new Lines();
  const ansi = new Ansi(sink);
  for (let at = 0; at < bytes.length; at += piece) ansi.feed(bytes.subarray(at, at + piece));
  ansi.end();
  if (bytes.length > 0 && bytes.at(-1) !== 0x0a) sink.newline();
  return sink.found;
}

test("the examples, wherever the chunks are cut", () => {
  for (const [given, expected] of text.ansi as unknown as [string | { hex: string }, Span[][]][]) {
    const bytes = typeof given === "string" ? encode(given) : Uint8Array.from(Buffer.from(given.hex, "hex"));
    for (const piece of [bytes.length || 1, 1, 2, 3]) {
      assert.deepEqual(lines(bytes, piece), expected, `${JSON.stringify(given)} in pieces of ${piece}`);
    }
  }
});

test("a style of more than 128 characters is none", () => {
  assert.deepEqual(sgr({}, `${"1;".repeat(63)}31`), { bold: true, fg: 1 });
  assert.deepEqual(sgr({}, `${"1;".repeat(64)}31`), {});
  for (const piece of [1, 100, 20_000]) assert.deepEqual(lines(encode(`a\x1b[${"1;".repeat(5000)}mb`), piece), [[["ab", {}]]]);
  const broken = encode(`\x1b[${"1".repeat(300)} 1m`);
  for (const piece of [1, 303, 1000]) assert.deepEqual(lines(broken, piece), [[["1m", {}]]]);
});

// --- what of it is in the page ------------------------------------------------------------------------------------------

test("lines, tabs, and characters of several bytes", () => {
  both("one\ntwo\n\n\tthree", "one\ntwo\n\n\tthree");
  both("Grüße 日本語 🚀\n", "Grüße 日本語 🚀\n");
  both("a\u202eb 10%\r20%\n", "20%10%\n");
  both("a\u202eb\n", "a<U+202E>b\n");
});

test("what cannot be decoded is U+FFFD, on each stream by itself", () => {
  both(Uint8Array.of(0x61, 0xff, 0xfe, 0x62, 0xc3, 0x0a), "a\ufffd\ufffdb\ufffd\n");
  const shown = new Shown().write(Uint8Array.of(0xe2, 0x82)).write("stderr\n", 2).write(Uint8Array.of(0xac, 0x0a));
  assert.equal(shown.text, "stderr\n€\n");
  shown.write(Uint8Array.of(0xe2, 0x82)).transcript.end(1);
  shown.transcript.flush();
  assert.equal(shown.text, "stderr\n€\n\ufffd\n");
});

test("all other sequences are swallowed, however they are cut", () => {
  for (const sequence of [
    "\x1b[10;10H", "\x1b[2J", "\x1b[?1049h", "\x1b[>c", "\x1b[5A", "\x1b(B", "\x1b7", "\x1b=", "\x1b#8", "\x07", "\0",
    "\x1b]0;title\x07", "\x1b]2;title\x1b\\", "\x1b]8;;http://example.com\x1b\\", "\x1b]52;c;aGVsbG8=\x07",
    "\x1bP$qm\x1b\\", "\x1b_apc\x1b\\", "\x1b^pm\x1b\\", "\x1bXsos\x1b\\", "\u009b31H", "\u009d0;title\u009c", "\x0e\x0f", "\x7f",
    "\x1b]0;unfinished\x1b[5n", `\x1b]52;c;${"A".repeat(100_000)}\x07`,
  ]) {
    const text = `a${sequence}b\n`;
    assert.equal(new Shown().write(text).text, "ab\n", JSON.stringify(sequence.slice(0, 40)));
    if (sequence.length < 100) both(text, "ab\n");
  }
});

test("a sequence that never ends hides a line at most", () => {
  both("a\x1b]0;for ever\nnext\n", "a\nnext\n");
  both("a\x1b[38;5\nnext\n", "a\nnext\n");
  assert.equal(new Shown().write(`\x1b[${"1;".repeat(5000)}`).write("m after\n").text.endsWith("after\n"), true);
});

test("markup is text", () => {
  const shown = new Shown().write('<img src=x onerror=alert(1)><script>1</script>&amp;\x1b[31m<b>"</b>\x1b[0m\n');
  assert.equal(shown.text, '<img src=x onerror=alert(1)><script>1</script>&amp;<b>"</b>\n');
  assert.deepEqual([...new Set([...shown.box.querySelectorAll("*")].map((el) => el.tagName))], ["DIV", "SPAN"]);
});

test("colours: 16, 256, true; attributes; inverse; reset", () => {
  const style = (text: string): string => new Shown().write(`${text}x\n`).spans[0]?.[1] ?? "none";
  assert.match(style("\x1b[31m"), /color: var\(--tfnz-a1\)/);
  assert.match(style("\x1b[95m"), /color: var\(--tfnz-a13\)/);
  assert.match(style("\x1b[38;5;196m"), /color: #ff0000/);
  assert.match(style("\x1b[38;5;244m"), /color: #808080/);
  assert.match(style("\x1b[38;2;1;2;3m"), /color: #010203/);
  assert.match(style("\x1b[38:2::1:2:3m"), /color: #010203/);
  assert.match(style("\x1b[41m"), /background-color: #c62828/);
  assert.match(style("\x1b[47m"), /color: #111/);
  assert.match(style("\x1b[1;3;4;9m"), /bold.*italic.*underline line-through/);
  assert.match(style("\x1b[7m"), /color: var\(--tfnz-bg\); background-color: var\(--tfnz-fg\)/);
  assert.match(style("\x1b[7;31m"), /background-color: #c62828/);
  assert.equal(style("\x1b[31m\x1b[m"), "none");
  assert.equal(style("\x1b[31;39m"), "none");
  assert.equal(style("\x1b[1m\x1b[22m"), "none");
});

test("a colour holds across chunks and lines, and neighbours that look alike are one element", () => {
  const shown = new Shown().write("\x1b[3").write("2mgreen\nstill").write(" green\x1b[0m plain\n");
  assert.deepEqual(shown.spans.map(([text]) => text), ["green", "still green"]);
});

test("stderr stands in lines of its own, and each stream goes on in its own line", () => {
  const shown = new Shown().write("out ").write("err ", 2).write("put\n").write("or\n", 2).write("more\n");
  assert.deepEqual(
    [...shown.box.children].map((block) => [block.className, block.textContent]),
    [["tfnz-block", "out put\n"], ["tfnz-block tfnz-stderr", "err or\n"], ["tfnz-block", "more\n"]],
  );
});

test("a line without an end is cut into segments", () => {
  const shown = new Shown();
  for (let i = 0; i < 160; i += 1) shown.write("x".repeat(64 * 1024));
  assert.ok(shown.text.length <= MOST_SIZE + 64 * 1024);
  assert.ok(shown.transcript.above > 9_000_000);
  assert.equal(shown.transcript.above + shown.text.length, 160 * 64 * 1024);
  for (const block of shown.box.children) assert.ok((block.textContent ?? "").length <= 24 * 1024);
});

test("a line cut into segments keeps its characters whole", () => {
  const line = "🚀".repeat(5000);
  assert.equal(new Shown().write(`x${line}\n`).text, `x${line}\n`);
});

test("the scrollback is bounded, and what is above is counted", () => {
  const shown = new Shown();
  let written = 0;
  for (let i = 0; i < 30; i += 1) {
    const text = Array.from({ length: 1000 }, (_, n) => `line ${i * 1000 + n}\n`).join("");
    written += text.length;
    shown.write(text);
  }
  const lines = shown.text.trimEnd().split("\n");
  assert.ok(lines.length <= MOST_LINES && lines.length > MOST_LINES - 200, String(lines.length));
  assert.equal(lines.at(-1), "line 29999");
  assert.equal(shown.transcript.above + shown.text.length, written);
  assert.ok(shown.box.children.length < 60);
});

test("without trimming nothing is dropped, and it says that it is full", () => {
  const shown = new Shown();
  shown.transcript.write(1, encode("line\n".repeat(MOST_LINES)));
  shown.transcript.flush(false);
  assert.equal(shown.transcript.full, false);
  shown.transcript.write(1, encode("line\n".repeat(1000)));
  shown.transcript.flush(false);
  assert.equal(shown.transcript.full, true);
  assert.equal(shown.text.split("\n").length, MOST_LINES + 1001);
});

test("a beginning in the middle of a line, and of a character, begins with the next line", () => {
  const shown = new Shown();
  shown.transcript.begin(1, 1000);
  shown.write("alf a line\nwhole\n");
  assert.equal(shown.text, "whole\n");
  assert.equal(shown.transcript.above, 1011);
  const cut = new Shown();
  cut.transcript.begin(1, 1);
  cut.write(Uint8Array.of(0x9c, 0xc3, 0xa4, 0x62));
  assert.equal(cut.text, "äb");
});

test("a gap is shown where it is, and the line before it stays", () => {
  const shown = new Shown().write("before\nunfinish\x1b[31m").write("rest\nafter\n", 1, 3_400_000);
  assert.equal(shown.text, "before\nunfinish\n… 3.24 MiB not shown here: process.log() has what is kept …after\n");
  shown.write("x\ny\n", 2, 600_000);
  assert.equal(shown.box.querySelectorAll(".tfnz-gap").length, 2);
});

test("lines written over and over cost their length, not their history", () => {
  const shown = new Shown();
  const bar = Array.from({ length: 1000 }, (_, i) => `\x1b[${31 + (i % 6)}m#`).join("");
  const began = performance.now();
  shown.write(`${bar}${`\r${"\x1b[32mxy".repeat(3)}`.repeat(4000)}`);
  assert.ok(performance.now() - began < 2000);
  assert.ok(shown.text.startsWith("xyxyxy"));
});

test("any bytes at all: never an exception, the size bounded", () => {
  let seed = 7;
  const random = (): number => (seed = (seed * 1103515245 + 12345) % 2147483648);
  const alphabet = [0x1b, 0x5b, 0x5d, 0x6d, 0x4b, 0x3b, 0x33, 0x38, 0x0d, 0x08, 0x0a, 0x09, 0xc3, 0xe2, 0xff, 0x41, 0x07, 0x9b, 0x50, 0x47];
  for (let round = 0; round < 60; round += 1) {
    const shown = new Shown();
    for (let chunk = 0; chunk < 20; chunk += 1) {
      shown.write(Uint8Array.from({ length: random() % 200 }, () => alphabet[(random() >> 8) % alphabet.length] as number), 1 + (random() % 2));
    }
    shown.transcript.end(1);
    shown.transcript.flush();
    assert.ok(!/[\x00-\x08\x0b-\x1f\x7f-\x9f]/.test(shown.text));
  }
});

test("bars of several lines are written over", () => {
  const bars = "one 1%\ntwo 1%\n\x1b[2Aone 50%\ntwo 50%\n\x1b[1A\x1b[2K\x1b[1Adone\n\nafter\n";
  both(bars, "done50%\n\nafter\n");
  const many = Array.from({ length: 200 }, (_, n) => `${n}\n`).join("");
  const lines = new Shown().write(many).write("\x1b[999Atop\x1b[999Blast\n").text.split("\n");
  assert.deepEqual([lines[0], lines[136], lines[199], lines[200], lines.length], ["0", "top", "199", "   last", 202]);
  both("a\nb\x1b[F1\x1b[E2", "1\n2");
});

test("what was written over is where it was, and the other stream after it", () => {
  const shown = new Shown().write("bar 1\nbar 2\n", 2).write("\x1b[2Abar 3\nbar 4\n", 2).write("out\n").write("more\n", 2);
  assert.equal(shown.text, "bar 3\nbar 4\nout\nmore\n");
  shown.write("\x1b[1Aless\n", 2);
  assert.equal(shown.text, "bar 3\nbar 4\nout\nless\n");
  shown.transcript.end(2);
  shown.transcript.flush();
  assert.equal(shown.text, "bar 3\nbar 4\nout\nless\n");
});

test("colours stay when lines are taken up again", () => {
  const shown = new Shown().write("\x1b[31mred\x1b[m\nplain\n\x1b[1Anew");
  assert.match(shown.spans[0]![1], /--tfnz-a1/);
  assert.equal(shown.text, "red\nnewin\n");
});
