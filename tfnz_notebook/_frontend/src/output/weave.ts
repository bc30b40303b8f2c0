// What was written before a view opened comes stream by stream; this puts it in the order in which it was written.
//
// `opened` tells it as changes from one stream to the other, which are runs here: so far this stream, then so far that
// one. While there are runs, a piece that is not of the first one waits. Each stream has credit of its own, which what
// waits does not give back, so what is waited for always comes. After the runs pieces are taken as they came.
import type { StreamStart } from "../hub.js";

export interface Piece {
  stream: number;
  bytes: Uint8Array;
  /** So many were left out before it. */
  left: number;
  /** The offset behind it. */
  upto: number;
}

/** [stream, offset]: from there on that stream went on. */
export type Changes = readonly (readonly [stream: number, offset: number])[];

export class Weave {
  private pieces: Piece[] = [];
  private runs: { stream: number; end: number }[] = [];
  private readonly at = new Map<number, number>(); // where each stream is, as taken
  private readonly ended = new Set<number>();

  /** A replay begins: streams with where they begin and where they are live. */
  begin(streams: readonly StreamStart[], changes: Changes): void {
    const known = new Map(streams.map(({ stream, head }) => [stream, head]));
    for (const { stream, from } of streams) if (!this.at.has(stream)) this.at.set(stream, from);
    const runs = [];
    for (const [stream, offset] of [...changes].reverse()) {
      const end = known.get(stream);
      if (end === undefined) continue;
      runs.push({ stream, end });
      known.set(stream, Math.min(offset, end));
    }
    // What came before the first change that is known of its stream comes first.
    this.runs = changes.length > 0 ? [...[...known].map(([stream, end]) => ({ stream, end })), ...runs.reverse()] : [];
  }

  put(piece: Piece): void {
    this.pieces.push(piece);
  }

  /** Nothing follows on this stream, or on any. */
  end(stream?: number): void {
    if (stream === undefined) this.runs = [];
    else this.ended.add(stream);
  }

  /** Whether all that came was taken. */
  get empty(): boolean {
    return this.pieces.length === 0;
  }

  /** The next piece, if its turn has come. */
  take(): Piece | undefined {
    while (this.runs.length > 0) {
      const { stream, end } = this.runs[0]!;
      const index = this.pieces.findIndex((each) => each.stream === stream);
      if ((this.at.get(stream) ?? 0) >= end || (index < 0 && this.ended.has(stream))) {
        this.runs.shift();
        continue;
      }
      return index < 0 ? undefined : this.cut(index, end);
    }
    return this.pieces.length > 0 ? this.cut(0, Infinity) : undefined;
  }

  /** A piece, or what of it belongs to a run that ends there. */
  private cut(index: number, end: number): Piece {
    const piece = this.pieces[index]!;
    const { stream, bytes, left, upto } = piece;
    const size = Math.max(1, end - (upto - bytes.length));
    if (bytes.length <= size) {
      this.pieces.splice(index, 1);
      this.at.set(stream, Math.max(upto, this.at.get(stream) ?? 0));
      return piece;
    }
    const middle = upto - bytes.length + size;
    this.pieces[index] = { stream, bytes: bytes.subarray(size), left: 0, upto };
    this.at.set(stream, middle);
    return { stream, bytes: bytes.subarray(0, size), left, upto: middle };
  }
}
