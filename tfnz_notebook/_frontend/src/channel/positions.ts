// How far a view has come on each stream of its subject: what is new in a message, what is missing, what is done with.
import type { StreamStart } from "../hub.js";
import { Receiver } from "./window.js";

/** What is new in a message; `left` bytes before it were left out. */
export interface News {
  offset: number;
  bytes: Uint8Array;
  left: number;
}

export class Positions {
  readonly #at = new Map<number, Receiver>();
  readonly #missing = new Map<number, number>(); // skipped, and not told yet
  readonly #ended = new Set<number>();

  /** For `open`: where to go on. Empty before anything came. */
  get from(): { from?: Record<string, number> } {
    if (this.#at.size === 0) return {};
    return { from: Object.fromEntries([...this.#at].map(([stream, { expected }]) => [stream, expected])) };
  }

  /** Every stream is over. */
  get finished(): boolean {
    return this.#at.size > 0 && this.#ended.size === this.#at.size;
  }

  /** The view has dealt with all that came. */
  get idle(): boolean {
    return [...this.#at.values()].every(({ taken, expected }) => taken >= expected);
  }

  /** Bytes that came or were skipped, all streams together. */
  get total(): number {
    return [...this.#at.values()].reduce((sum, { expected }) => sum + expected, 0);
  }

  /** They begin (again) there, and with that much credit. */
  opened(streams: readonly StreamStart[], window: number): void {
    for (const { stream, from } of streams) {
      const there = this.#at.get(stream) ?? new Receiver({ offset: from });
      this.#at.set(stream, there);
      this.skip(stream, from); // the log no longer has what is between
      there.window = window;
      there.renew(from + window);
    }
  }

  /** Bytes between what came and `offset` did not come. */
  gap(stream: number, offset: number): boolean {
    return (this.#at.get(stream)?.missing(offset) ?? 0) > 0;
  }

  skip(stream: number, to: number): void {
    this.#leave(stream, this.#at.get(stream)?.skip(to) ?? 0);
  }

  take(stream: number, offset: number, payload: Uint8Array): News | null {
    const there = this.#at.get(stream);
    if (!there) return null;
    const { bytes, left } = there.arrived(offset, payload);
    this.#leave(stream, left);
    return bytes.length > 0 ? { offset: there.expected - bytes.length, bytes, left: this.#left(stream) } : null;
  }

  over(stream: number): boolean {
    return this.#ended.has(stream);
  }

  /** The stream is over; the bytes left out before its end. */
  end(stream: number): number {
    this.#ended.add(stream);
    return this.#left(stream);
  }

  /** The view has dealt with all before `upto`, and wants so much more. */
  dealt(stream: number, upto: number, window: number): void {
    const there = this.#at.get(stream);
    if (!there) return;
    there.window = window;
    there.takeTo(upto);
  }

  /** The credits that are to be said now. */
  *grants(): Iterable<[stream: number, upto: number]> {
    for (const [stream, there] of this.#at) {
      const upto = there.grant();
      if (upto !== null) yield [stream, upto];
    }
  }

  #leave(stream: number, size: number): void {
    if (size > 0) this.#missing.set(stream, (this.#missing.get(stream) ?? 0) + size);
  }

  #left(stream: number): number {
    const left = this.#missing.get(stream) ?? 0;
    this.#missing.delete(stream);
    return left;
  }
}
