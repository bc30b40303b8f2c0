// The text of a view: blocks of up to a hundred lines of one stream, each one element, appended to and dropped whole.
//
// Text is parsed into blocks first and into the page once a frame (`flush`), so that what falls out of the scrollback
// within a frame never becomes an element. A block's content is inline (text nodes, spans for what is styled, line ends
// as they came), which is cheap, selects and copies as the output was, and is found by the browser's search.
import { Ansi, type Style, PLAIN } from "./ansi.js";
import { draw, drawn } from "./draw.js";
import type { Row } from "../still.js";
import { Pen, type Run } from "./pen.js";
import { size } from "../text/numbers.js";

const BLOCK_LINES = 100;
const BLOCK_SIZE = 16 * 1024;
/** A longer line goes on in a block of its own. */
const LONGEST = 4096;
export const MOST_LINES = 5000;
export const MOST_SIZE = 1024 * 1024;
/** A beginning in the middle of a line is left out up to here. */
const RAGGED = 4096;
/** Lines above the one that is written that can still be written over (widgets/saved/ansi.py). */
const REACH = 64;

class Block {
  el: HTMLElement | null = null;
  lines = 0;
  size = 0;
  dead = false;
  dirty = false;
  pending: Run[] = [];
  /** The stream whose unfinished line is here, at the end. */
  open: Writer | null = null;
  openEl: HTMLElement | null = null;
  left = 0; // of a gap

  constructor(readonly stream: number) {}

  render(): void {
    this.dirty = false;
    const el = (this.el ??= this.make());
    if (this.left > 0) {
      el.textContent = `\u2026 ${size(this.left)} not shown here: process.log() has what is kept \u2026`;
      return;
    }
    this.openEl?.remove();
    this.openEl = null;
    draw(el, this.pending);
    this.pending = [];
    if (this.open && this.open.pens.some((pen) => pen.size > 0)) {
      this.openEl = document.createElement("span");
      for (const [index, pen] of this.open.pens.entries()) {
        if (index > 0) draw(this.openEl, [{ text: "\n", style: PLAIN }]);
        draw(this.openEl, pen.runs);
      }
      el.append(this.openEl);
    }
  }

  /** Takes its last lines out again, at most so many. */
  reopen(most: number): Run[][] {
    const { open } = this;
    this.open = null;
    this.render();
    this.open = open;
    const el = this.el as HTMLElement;
    const lines = [...drawn(el)];
    const taken = lines.splice(Math.max(0, lines.length - most));
    el.replaceChildren();
    draw(el, lines.flatMap((runs) => [...runs, { text: "\n", style: PLAIN }]));
    this.dirty = false;
    return taken;
  }

  private make(): HTMLElement {
    const el = document.createElement("div");
    el.className = this.stream === 0 ? "tfnz-gap" : this.stream === 2 ? "tfnz-block tfnz-stderr" : "tfnz-block";
    return el;
  }
}

/** One stream: its parser, and the lines it writes: one, or those that it came up to again. */
class Writer {
  pens = [new Pen()];
  private row = 0;
  readonly ansi: Ansi;
  block: Block | null = null;
  ragged = false;

  constructor(
    readonly stream: number,
    private readonly home: Transcript,
  ) {
    this.ansi = new Ansi({
      text: (text, style) => this.text(text, style),
      newline: () => this.newline(),
      carriageReturn: () => this.pen.home(),
      backspace: () => this.pen.back(),
      tab: (style) => {
        this.pen.tab(style);
        this.touch();
      },
      erase: (how) => {
        this.pen.erase(how);
        this.touch();
      },
      column: (number) => this.pen.column(number),
      move: (lines, first) => this.move(lines, first),
    });
  }

  get pen(): Pen {
    return this.pens[this.row] as Pen;
  }

  /** Whether what it writes now is its last line. */
  get last(): boolean {
    return this.row === this.pens.length - 1;
  }

  /** All lines but the last are as they are. */
  settle(): void {
    if (this.pens.length === 1 || !this.last) return;
    while (this.pens.length > 1) this.shift();
    if (this.pen.size === 0) this.home.release(this);
  }

  private shift(): void {
    this.home.commit(this, true, this.pens.shift() as Pen);
    this.row -= 1;
  }

  private newline(): void {
    if (this.pens.length === 1) {
      this.home.commit(this, true);
      return;
    }
    this.row += 1;
    if (this.row === this.pens.length) this.pens.push(new Pen());
    this.pen.home();
    if (this.pens.length > REACH + 1) this.shift();
    this.touch();
  }

  private move(lines: number, first: boolean): void {
    const { place } = this.pen;
    const wanted = this.row + lines;
    if (wanted < 0) {
      const found = this.home.reopen(this, Math.min(-wanted, REACH + 1 - this.pens.length));
      this.pens = [...found.map((runs) => Pen.of(runs)), ...this.pens];
      this.row += found.length;
    }
    this.row = Math.min(Math.max(this.row + lines, 0), this.pens.length - 1);
    this.pen.place = first ? 0 : place;
    if (this.pens.length > 1) this.touch();
  }

  /** To the last line, with those above it as they are. */
  leave(): void {
    this.row = this.pens.length - 1;
    this.settle();
  }

  private text(text: string, style: Style): void {
    let rest = text;
    while (this.pens.length === 1 && this.pen.size + rest.length > LONGEST) {
      let room = Math.max(1, LONGEST - this.pen.size);
      if (/[\ud800-\udbff]/.test(rest[room - 1] as string)) room += 1;
      this.pen.write(rest.slice(0, room), style);
      rest = rest.slice(room);
      this.home.commit(this, false);
    }
    if (rest) this.pen.write(rest, style);
    this.touch();
  }

  private touch(): void {
    this.home.touched(this);
  }
}

export class Transcript {
  /** Bytes before what is shown. */
  above = 0;
  private readonly writers = new Map<number, Writer>();
  private blocks: Block[] = [];
  private lines = 0;
  private size = 0;
  private dirty: Block[] = [];

  constructor(private readonly box: HTMLElement) {}

  /** A stream begins at an offset: what is before, and the rest of a line there, is above. */
  begin(stream: number, offset: number): void {
    this.above += offset;
    this.writer(stream).ragged = offset > 0;
  }

  write(stream: number, bytes: Uint8Array, left = 0): void {
    const writer = this.writer(stream);
    for (const other of this.writers.values()) if (other !== writer) other.settle();
    if (left > 0) {
      this.end(stream);
      this.gap(left);
      writer.ragged = true;
    }
    writer.ansi.feed(writer.ragged ? this.trimmed(writer, bytes) : bytes);
  }

  /** The stream is over; an unfinished line stays as it is. */
  end(stream: number): void {
    const writer = this.writer(stream);
    writer.ansi.end();
    writer.leave();
    if (writer.pen.size > 0) this.commit(writer, true);
  }

  gap(left: number): void {
    let last = this.blocks[this.blocks.length - 1];
    if (last?.stream !== 0) {
      last = this.add(0);
      this.count(last, 1, 0);
    }
    last.left += left;
    this.mark(last);
  }

  get empty(): boolean {
    return this.blocks.length === 0;
  }

  /** More than the scrollback holds has come: `flush` would drop what is on top. */
  get full(): boolean {
    return this.lines > MOST_LINES || this.size > MOST_SIZE;
  }

  /** The last lines as they are in the page, and how many bytes there were before them. */
  shown(most: number): { rows: Row[]; above: number } {
    const rows: Row[] = [];
    let { above } = this;
    for (const block of [...this.blocks].reverse()) {
      if (rows.length >= most) {
        above += block.size + block.left;
        continue;
      }
      const stderr = block.stream === 2;
      rows.unshift(...[...(block.el ? drawn(block.el) : [])].map((spans) => ({ spans, stderr })));
    }
    return { rows, above };
  }

  /** Brings the page up to date; with `trim`, drops what is beyond the scrollback. */
  flush(trim = true): void {
    while (trim && this.full && this.blocks.length > 1) this.drop(this.blocks[0] as Block);
    const fresh = document.createDocumentFragment();
    for (const block of this.dirty) {
      if (block.dead) continue;
      block.render();
      if (block.el?.parentNode === null) fresh.append(block.el as unknown as Node);
    }
    this.dirty = [];
    if (fresh.firstChild) this.box.append(fresh);
  }

  // --- for the writers ---------------------------------------------------------------------------------------------

  /** The unfinished line of a stream has changed. */
  touched(writer: Writer): void {
    if (!writer.block || writer.block.dead) {
      writer.block = this.appendable(writer.stream);
      writer.block.open = writer;
    }
    this.mark(writer.block);
  }

  /** The last lines of a stream, out of where they are, to be written over. */
  reopen(writer: Writer, most: number): Run[][] {
    const found: Run[][] = [];
    const blocks = this.blocks.filter(({ stream }) => stream === writer.stream);
    while (found.length < most && blocks.length > 0) {
      const block = blocks.pop() as Block;
      const lines = block.reopen(most - found.length);
      found.unshift(...lines);
      const characters = lines.reduce((sum, runs) => sum + runs.reduce((all, { text }) => all + text.length, 1), 0);
      this.count(block, -lines.length, -characters);
      this.mark(block);
    }
    return found;
  }

  /** A stream writes no line now: the next one goes where the newest are. */
  release(writer: Writer): void {
    if (writer.block) writer.block.open = null;
    writer.block = null;
  }

  /** A line, or a piece of a long one, is done. */
  commit(writer: Writer, whole: boolean, pen = writer.pen): void {
    const { size: written } = pen;
    const block = writer.block && !writer.block.dead ? writer.block : this.appendable(writer.stream);
    block.pending.push(...pen.take());
    if (whole) block.pending.push({ text: "\n", style: PLAIN });
    if (pen === writer.pen) this.release(writer);
    this.count(block, 1, written + (whole ? 1 : 0));
    this.mark(block);
  }

  // --- blocks ------------------------------------------------------------------------------------------------------

  private writer(stream: number): Writer {
    let writer = this.writers.get(stream);
    if (!writer) {
      writer = new Writer(stream, this);
      this.writers.set(stream, writer);
    }
    return writer;
  }

  private appendable(stream: number): Block {
    const last = this.blocks[this.blocks.length - 1];
    if (last && last.stream === stream && last.lines < BLOCK_LINES && last.size < BLOCK_SIZE) return last;
    return this.add(stream);
  }

  private add(stream: number): Block {
    const block = new Block(stream);
    this.blocks.push(block);
    return block;
  }

  private count(block: Block, lines: number, characters: number): void {
    block.lines += lines;
    block.size += characters;
    this.lines += lines;
    this.size += characters;
  }

  private mark(block: Block): void {
    if (block.dirty) return;
    block.dirty = true;
    this.dirty.push(block);
  }

  private drop(block: Block): void {
    this.blocks.shift();
    block.dead = true;
    block.el?.remove();
    this.lines -= block.lines;
    this.size -= block.size;
    this.above += block.size + block.left;
  }

  /** Without the rest of the line in which it begins, or at least of the character. */
  private trimmed(writer: Writer, bytes: Uint8Array): Uint8Array {
    if (bytes.length === 0) return bytes;
    writer.ragged = false;
    let from = bytes.subarray(0, RAGGED).indexOf(0x0a) + 1;
    if (from === 0 || from === bytes.length) {
      from = 0;
      while (from < 3 && from < bytes.length && ((bytes[from] as number) & 0xc0) === 0x80) from += 1;
    }
    this.above += from;
    return bytes.subarray(from);
  }
}
