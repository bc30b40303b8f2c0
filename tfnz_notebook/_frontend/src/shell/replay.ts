// A log that begins in the middle: where a terminal may begin with it.

const NEWLINE = 0x0a;
const ESCAPE = 0x1b;
/** Text without a line break is skipped up to so many bytes. */
const PATIENCE = 16 * 1024;

/**
 * Drops what comes before the first line break, so that what is shown begins neither inside an escape sequence nor
 * inside a character. Full-screen programs write none: then it begins at an ESC, which begins a sequence wherever it
 * stands, or after 16 KiB at any ASCII character.
 */
export class Beginning {
  #skipped = 0;
  #escape: Uint8Array | undefined;

  /** The next piece of the log; what of it to show, and undefined while that is nothing. */
  take(piece: Uint8Array): Uint8Array | undefined {
    const held = this.#escape;
    const bytes = held === undefined ? piece : joined(held, piece);
    this.#escape = undefined;
    const line = bytes.indexOf(NEWLINE);
    if (line >= 0) return bytes.subarray(line + 1);
    const escape = bytes.indexOf(ESCAPE);
    if (escape >= 0) {
      if (bytes.length - escape >= PATIENCE) return bytes.subarray(escape);
      this.#escape = bytes.slice(escape);
      return undefined;
    }
    this.#skipped += bytes.length;
    if (this.#skipped < PATIENCE) return undefined;
    const ascii = bytes.findIndex((byte) => byte < 0x80);
    return ascii < 0 ? undefined : bytes.subarray(ascii);
  }

  /** The replay is over: what was held back for a line break that did not come. */
  rest(): Uint8Array | undefined {
    return this.#escape;
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
