// The arithmetic of credit, as in _wire/window.py, which says its rules; tests/unit/wire/window.json holds both to them.

/** A grant is said when so much of the window is free: one part in four. */
const PARTS = 4;

/** What the other end cannot have meant; nobody reads more of it than that. */
export class Fault extends Error {}

/** The half that takes. `gaps`: whether bytes may be left out, else that is a fault. */
export class Receiver {
  /** Offset of the next byte that is new. */
  expected: number;
  /** All before it is used up. */
  taken: number;
  /** The grant as it was said last. */
  granted = 0;
  window: number;
  #limit = 0; // what the sender may have made of the grant by leaving bytes out
  readonly #gaps: boolean;

  constructor({ offset = 0, window = 0, gaps = true } = {}) {
    this.expected = this.taken = offset;
    this.window = window;
    this.#gaps = gaps;
    this.renew();
  }

  /** A new conversation about the stream begins, with this grant (or one by the rule). */
  renew(granted = this.taken + this.window): void {
    this.granted = this.#limit = granted;
  }

  /** How many bytes did not come between what did and `offset`. */
  missing(offset: number): number {
    return Math.max(0, offset - this.expected);
  }

  /** What is new of it; `left` bytes before that were left out. */
  arrived(offset: number, chunk: Uint8Array): { bytes: Uint8Array; left: number } {
    if (!(offset >= 0)) throw new Fault();
    const left = this.missing(offset);
    if (left > 0 && !this.#gaps) throw new Fault();
    const fresh = offset + chunk.length - this.expected - left;
    if (fresh <= 0) return { bytes: chunk.subarray(chunk.length), left: this.skip(offset) };
    if (this.expected + fresh > this.#limit) throw new Fault();
    this.skip(offset);
    this.expected += fresh;
    return { bytes: chunk.subarray(chunk.length - fresh), left };
  }

  /** Nothing before `offset` comes any more; how many bytes are left out by that. */
  skip(offset: number): number {
    const left = this.missing(offset);
    this.expected += left;
    this.taken += left;
    this.#limit += left;
    return left;
  }

  /** So many bytes more are used up. */
  take(size: number): void {
    this.takeTo(this.taken + size);
  }

  /** All before `offset` is used up. */
  takeTo(offset: number): void {
    this.taken = Math.max(this.taken, Math.min(offset, this.expected));
  }

  /** The credit to say now, if it is time. */
  grant(): number | null {
    const upto = this.taken + this.window;
    if (upto <= this.granted || (upto - this.granted) * PARTS < this.window) return null;
    return this.#say(upto);
  }

  /** All before `offset` is used up; whether there is an acknowledgement to say of it. */
  acknowledge(offset: number): boolean {
    const before = this.taken;
    this.takeTo(offset);
    this.#say(this.taken + this.window);
    return this.taken > before;
  }

  #say(upto: number): number {
    this.granted = upto;
    this.#limit = Math.max(this.#limit, upto);
    return upto;
  }
}

/** The half that gives: begins with what is `allowed` (credit), or with a `window` (acknowledgements). */
export class Sender {
  /** One past the last byte there is. */
  head: number;
  /** Offset of the next byte to send. */
  sent: number;
  /** All before it was acknowledged. */
  acked: number;
  /** How far it may send. */
  allowed: number;
  readonly #window: number;
  readonly #most: number;

  constructor({ offset = 0, allowed = 0, window = 0, most = Infinity } = {}) {
    this.head = this.sent = this.acked = offset;
    this.#window = window;
    this.#most = most;
    this.allowed = offset + window;
    if (allowed > this.allowed) this.allow(allowed);
  }

  /** How many bytes it might send. */
  get room(): number {
    return Math.max(0, this.allowed - this.sent);
  }

  /** How many of those that are there it may send now. */
  get ready(): number {
    return Math.max(0, Math.min(this.head, this.allowed) - this.sent);
  }

  /** So many bytes more are there. */
  add(size: number): void {
    this.head += size;
  }

  /** So many bytes are sent, of those that are ready; the offset of the first one. */
  send(size: number): number {
    const start = this.sent;
    this.sent += size;
    return start;
  }

  /** A credit came; whether it is more than before. */
  allow(upto: number): boolean {
    if (!(upto >= 0)) throw new Fault();
    const before = this.allowed;
    this.allowed = Math.max(before, Math.min(upto, this.sent + this.#most));
    return this.allowed > before;
  }

  /** An acknowledgement came; whether it is of more than before. */
  acknowledge(upto: number): boolean {
    if (!(upto >= 0 && upto <= this.sent)) throw new Fault();
    if (upto <= this.acked) return false;
    this.acked = upto;
    this.allow(upto + this.#window);
    return true;
  }

  /** Leave out what lies before `offset`; how many bytes that is, none without credit. */
  skip(offset: number): number {
    const left = offset - this.sent;
    if (left <= 0 || this.room === 0) return 0;
    this.sent += left;
    this.acked += left;
    this.allowed += left;
    this.head = Math.max(this.head, this.sent);
    return left;
  }

  /** What was not acknowledged is to be sent again: the way it took is gone. */
  rewind(): void {
    this.sent = this.acked;
  }
}
