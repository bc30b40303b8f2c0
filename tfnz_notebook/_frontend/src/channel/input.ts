// Stdin on its way: in order, in pieces, so many bytes at a time; and what of it may be lost with the lane it took.

const PIECE = 32 * 1024;
const FLIGHT = 128 * 1024; // sent and not yet acknowledged
const WAITING = 4 * 1024 * 1024;

/** What one lane carries: seq → length, until it is acknowledged. */
export type Flight = Map<number, number>;

export function aboard(flight: Flight): number {
  let size = 0;
  for (const length of flight.values()) size += length;
  return size;
}

export class Input {
  private waiting: Uint8Array[] = [];
  private seq = 0;
  private ends = false;
  /** Bytes that wait. */
  size = 0;

  get empty(): boolean {
    return this.size === 0;
  }

  /** False: it does not fit. */
  put(bytes: Uint8Array): boolean {
    if (this.size + bytes.length > WAITING) return false;
    for (let from = 0; from < bytes.length; from += PIECE) this.waiting.push(bytes.slice(from, from + PIECE));
    this.size += bytes.length;
    return true;
  }

  /** Its end, after what waits. */
  end(): void {
    this.ends = true;
  }

  drop(): void {
    this.waiting = [];
    this.size = 0;
    this.ends = false;
  }

  /** Puts aboard what fits. */
  pump(flight: Flight, send: (seq: number, piece: Uint8Array) => void, end: () => void): void {
    let size = aboard(flight);
    while (this.waiting.length > 0 && size < FLIGHT) {
      const piece = this.waiting.shift() as Uint8Array;
      this.size -= piece.length;
      size += piece.length;
      flight.set(++this.seq, piece.length);
      send(this.seq, piece);
    }
    if (this.ends && this.empty) {
      this.ends = false;
      end();
    }
  }
}
