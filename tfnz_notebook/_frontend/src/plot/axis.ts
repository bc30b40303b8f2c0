// One time axis for the plots of a page that are linked: the same moments, zoom, pause and pointer in all of them.

export interface Linked {
  /** The x of its newest row. */
  readonly newest: number;
  /** Draw anew: the axis shows other moments. */
  moved(): void;
  /** Whether there are others to link with, or it is linked, changed. */
  told(): void;
  paused(on: boolean): void;
  window(seconds: number): void;
  /** The pointer is at this moment in another plot; null: nowhere. */
  point(x: number | null): void;
}

export class Axis {
  on = false;
  zoom: [number, number] | null = null;
  readonly #plots = new Set<Linked>();

  /** That of this page, whichever bundle asks. */
  static get ofPage(): Axis {
    const page = globalThis as unknown as Record<symbol, Axis>;
    return (page[Symbol.for("tfnz.axis")] ??= new Axis());
  }

  get several(): boolean {
    return this.#plots.size > 1;
  }

  add(plot: Linked): void {
    if (this.#plots.has(plot)) return;
    this.#plots.add(plot);
    this.#each((each) => each.told());
  }

  delete(plot: Linked): void {
    if (!this.#plots.delete(plot)) return;
    if (!this.several) this.on = false;
    this.#each((each) => each.told());
  }

  /** Where it ends now. */
  get newest(): number {
    return Math.max(...[...this.#plots].map((plot) => plot.newest).filter((x) => x === x));
  }

  link(on: boolean, seconds: number): void {
    this.on = on;
    this.zoom = null;
    this.#each((plot) => {
      plot.told();
      if (on) plot.window(seconds);
      plot.moved();
    });
  }

  zoomed(range: [number, number] | null): void {
    this.zoom = range;
    this.#each((plot) => plot.moved());
  }

  pause(on: boolean): void {
    this.#each((plot) => plot.paused(on));
  }

  choose(seconds: number): void {
    this.zoom = null;
    this.#each((plot) => plot.window(seconds));
  }

  point(from: Linked, x: number | null): void {
    this.#each((plot) => plot !== from && plot.point(x));
  }

  #each(act: (plot: Linked) => void): void {
    for (const plot of [...this.#plots]) act(plot);
  }
}
