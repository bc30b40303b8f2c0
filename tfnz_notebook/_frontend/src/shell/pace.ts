// How much output may be under way to a terminal.
//
// Whoever presses Ctrl-C sees its effect behind everything that is on the way already, so that is what the terminal takes
// in a moment, however fast the page and the path to it are: little for a slow one, much for a fast one. The moment has to
// be longer than the path's own delay, or what is on its way would be ever less.

const PATHS = {
  direct: { delay: 60, least: 16 * 1024 }, // ms, bytes
  comm: { delay: 150, least: 64 * 1024 },
};
const MOST = 512 * 1024;
const SAMPLE = 30; // ms that a rate is taken over
const IDLE = 120; // ms without output, after which a new rate is begun

export class Pace {
  path: keyof typeof PATHS = "comm";
  window = 64 * 1024;
  #since = 0;
  #last = 0;
  #bytes = 0;

  /** The terminal has taken in so many bytes. */
  took(bytes: number, now = performance.now()): void {
    if (now - this.#last > IDLE) {
      this.#since = now;
      this.#bytes = 0;
    } else {
      this.#bytes += bytes;
      const time = now - this.#since;
      if (time >= SAMPLE) {
        const { delay, least } = PATHS[this.path];
        const wanted = Math.min(MOST, Math.max(least, (this.#bytes / time) * delay));
        this.window = Math.round(Math.min(2 * this.window, (this.window + wanted) / 2));
        this.#since = now;
        this.#bytes = 0;
      }
    }
    this.#last = now;
  }
}
