// Stdin on its way: in order, in pieces, so many bytes at a time. With its view's id a piece's offset names it at the agent,
// which writes it once: what has no answer is said again, in the same pieces, over whichever carrier comes next.
import { INPUT } from "../protocol.js";
import { Sender } from "./window.js";

const PIECE = 32 * 1024;
const WAITING = 4 * 1024 * 1024;

interface Piece {
  offset: number;
  bytes: Uint8Array;
  /** It was acknowledged, or refused. */
  answered: boolean;
}

export class Input {
  #window = new Sender({ window: INPUT });
  #pieces: Piece[] = []; // from the first without an answer on
  #end: "open" | "asked" | "said" | "over" = "open";

  /** Nothing of it is on the way, or waits. */
  get idle(): boolean {
    return this.#pieces.length === 0 && this.#end !== "asked";
  }

  /** False: it does not fit. */
  put(bytes: Uint8Array): boolean {
    if (this.#window.head - this.#window.acked + bytes.length > WAITING) return false;
    for (let from = 0; from < bytes.length; from += PIECE) {
      const piece = bytes.slice(from, from + PIECE);
      this.#pieces.push({ offset: this.#window.head, bytes: piece, answered: false });
      this.#window.add(piece.length);
    }
    return true;
  }

  /** Its end, after what was put. */
  finish(): void {
    if (this.#end === "open") this.#end = "asked";
  }

  /** The way it took is gone: what has no answer is to be said again. */
  rewind(): void {
    this.#window.rewind();
    if (this.#end === "said") this.#end = "asked";
  }

  /** Says what may be said now. */
  pump(say: (offset: number, bytes: Uint8Array) => void, end: (offset: number) => void): void {
    for (const { offset, bytes, answered } of this.#pieces) {
      if (offset < this.#window.sent) continue;
      if (bytes.length > this.#window.ready) break;
      this.#window.send(bytes.length);
      if (!answered) say(offset, bytes);
    }
    if (this.#end === "asked" && this.#pieces.length === 0) {
      this.#end = "said";
      end(this.#window.head);
    }
  }

  acknowledged(upto: number, end: boolean): void {
    if (end && this.#end === "said") this.#end = "over";
    this.#answer(({ offset, bytes }) => offset + bytes.length <= Math.min(upto, this.#window.sent));
  }

  refused(at: number): void {
    this.#answer(({ offset }) => offset === at && offset < this.#window.sent);
  }

  /** Gives all of it up: how many bytes may have arrived, how many have not, and whether its end was to come. */
  drop(): { unanswered: number; unsent: number; end: boolean } {
    const { head, sent } = this.#window;
    const end = this.#end === "asked";
    const open = this.#pieces.filter(({ offset, answered }) => !answered && offset < sent);
    const unanswered = open.reduce((sum, { bytes }) => sum + bytes.length, 0);
    this.#pieces = [];
    this.#window = new Sender({ offset: head, window: INPUT });
    if (end) this.#end = "open";
    return { unanswered, unsent: head - sent, end };
  }

  #answer(which: (piece: Piece) => boolean): void {
    for (const piece of this.#pieces) piece.answered ||= which(piece);
    while (this.#pieces[0]?.answered && this.#pieces[0].offset < this.#window.sent) this.#pieces.shift();
    this.#window.acknowledge(this.#pieces[0]?.offset ?? this.#window.sent);
  }
}
