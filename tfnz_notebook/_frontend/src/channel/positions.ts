// How far a view has come on each stream of its subject: what is new in a message, what is missing, what is done with.
import type { StreamStart } from "../hub.js";

/** What is new in a message; `left` bytes before it were left out. */
export interface News {
  offset: number;
  bytes: Uint8Array;
  left: number;
}

export class Positions {
  private readonly at = new Map<number, number>(); // of the next byte
  private readonly consumed = new Map<number, number>();
  private readonly missing = new Map<number, number>(); // skipped, and not told yet
  private readonly ended = new Set<number>();

  /** For `open`: where to go on. Empty before anything came. */
  get from(): { from?: Record<string, number> } {
    return this.at.size > 0 ? { from: Object.fromEntries(this.at) } : {};
  }

  /** Every stream is over. */
  get finished(): boolean {
    return this.at.size > 0 && this.ended.size === this.at.size;
  }

  /** The view has dealt with all that came. */
  get idle(): boolean {
    return [...this.at].every(([stream, here]) => (this.consumed.get(stream) ?? here) >= here);
  }

  /** Bytes that came or were skipped, all streams together. */
  get total(): number {
    return [...this.at.values()].reduce((sum, here) => sum + here, 0);
  }

  opened(streams: readonly StreamStart[]): void {
    for (const { stream, from } of streams) {
      const here = this.at.get(stream);
      if (here === undefined) {
        this.at.set(stream, from);
        this.consumed.set(stream, from);
      } else if (from > here) {
        this.skip(stream, from); // the log no longer has what is between
      }
    }
  }

  /** Bytes between what came and `offset` did not come. */
  gap(stream: number, offset: number): boolean {
    return offset > (this.at.get(stream) ?? offset);
  }

  skip(stream: number, to: number): void {
    this.missing.set(stream, (this.missing.get(stream) ?? 0) + to - (this.at.get(stream) ?? to));
    this.at.set(stream, to);
  }

  /** What is new in bytes that begin no later than expected. */
  take(stream: number, offset: number, payload: Uint8Array): News | null {
    const here = this.at.get(stream) ?? offset;
    const bytes = offset < here ? payload.subarray(here - offset) : payload;
    if (bytes.length === 0) return null;
    this.at.set(stream, here + bytes.length);
    return { offset: here, bytes, left: this.left(stream) };
  }

  over(stream: number): boolean {
    return this.ended.has(stream);
  }

  /** The stream is over; the bytes left out before its end. */
  end(stream: number): number {
    this.ended.add(stream);
    return this.left(stream);
  }

  dealt(stream: number, upto: number): void {
    this.consumed.set(stream, Math.max(upto, this.consumed.get(stream) ?? 0));
  }

  get credits(): Iterable<[stream: number, upto: number]> {
    return this.consumed;
  }

  private left(stream: number): number {
    const left = this.missing.get(stream) ?? 0;
    this.missing.delete(stream);
    return left;
  }
}
