// Who says how large the terminal is: this view, or another one.
import type { Size } from "../screen/screen.js";

/** The process's own word on its size lags behind ours by so many milliseconds at most. */
const LAG = 1000;
const SETTLE = 200;

const same = (one: Size, other: Size): boolean => one.rows === other.rows && one.columns === other.columns;

/**
 * The view that leads (see peers.ts) owns the size: it fits its own room and tells the process. The others show the
 * size that the process says it has. What the process says can be older than what was just told, so a difference
 * counts once it has stayed a while; then somebody else (another browser, `process.resize`) has set it, and owns it until this view
 * is focused or typed into again.
 */
export class Sizing {
  /** Another set the size although this view leads. */
  #foreign = false;
  #told: Size | undefined;
  #heard: Size | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #insisting: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly leads: () => boolean,
    private readonly tell: (size: Size) => void,
    private readonly show: (size: Size) => void,
  ) {}

  get owns(): boolean {
    return this.leads() && !this.#foreign;
  }

  /** What was heard of the process, to be shown exactly unless this view owns the size. */
  heard(size: Size): void {
    const first = this.#heard === undefined;
    this.#heard = size;
    clearTimeout(this.#timer);
    if (!this.owns) {
      // A nudge (see below) of another view passes by in between.
      if (first) this.show(size);
      else this.#timer = setTimeout(() => this.#follow(), SETTLE);
    } else if (this.#told !== undefined && !same(this.#told, size)) {
      this.#timer = setTimeout(() => this.#follow(), LAG);
    }
  }

  #follow(): void {
    const size = this.#heard;
    if (size === undefined) return;
    if (this.owns && this.#told !== undefined && !same(this.#told, size)) this.#foreign = true;
    if (!this.owns) this.show(size);
  }

  /** This view's room has this size. */
  fits(size: Size): void {
    if (!this.owns) return;
    this.show(size);
    if (this.#told !== undefined && same(this.#told, size)) return;
    this.announce(size);
    this.tell(size);
  }

  /** The process is being told this size, by `open` or otherwise. */
  announce(size: Size): void {
    this.#told = size;
  }

  /** Another view came, and may have set the size before it heard of this one, which owns it. */
  insist(): void {
    clearTimeout(this.#insisting);
    this.#insisting = setTimeout(() => {
      const told = this.#told;
      if (!this.owns || told === undefined || this.#heard === undefined || same(told, this.#heard)) return;
      clearTimeout(this.#timer);
      this.tell(told);
    }, SETTLE);
  }

  /** Its user turned to this view: it owns the size again. True if it did not before. */
  take(): boolean {
    if (!this.#foreign) return false;
    this.#foreign = false;
    this.#told = undefined;
    return true;
  }

  /** Leadership came or went. */
  changed(): void {
    this.#foreign = false;
    this.#told = undefined;
    if (!this.leads() && this.#heard) this.show(this.#heard);
  }

  /** Make a full-screen program draw itself again: its terminal shrinks by a row for a moment. */
  nudge(size: Size, signal: AbortSignal): void {
    this.announce(size);
    this.tell({ rows: Math.max(1, size.rows - 1), columns: size.columns });
    const back = setTimeout(() => {
      this.announce(size);
      this.tell(size);
    }, 80);
    signal.addEventListener("abort", () => clearTimeout(back), { once: true });
  }

  close(): void {
    clearTimeout(this.#insisting);
    clearTimeout(this.#timer);
  }
}
