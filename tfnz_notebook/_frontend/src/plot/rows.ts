// The rows a view has: one Float64Array a column, contiguous, bounded. What uPlot is given are windows into them.

/** Numbers kept: what the kernel sends at most at a time (SNAPSHOT in widgets/plot.py). */
const MOST_CELLS = (2 << 20) / 8;
const BEGIN = 512;

type Cells = Float64Array<ArrayBuffer>;

export class Rows {
  /** Number of the oldest row kept, and how many there are. */
  first = 0;
  length = 0;
  #columns: Cells[] = [];
  #gaps: boolean[] = []; // whether a column ever had no value
  #start = 0; // where the oldest lies in its array
  #room = 0;

  get end(): number {
    return this.first + this.length;
  }

  get width(): number {
    return this.#columns.length;
  }

  /** Rows as they came. What is known is dropped; what does not join on begins anew. */
  add(from: number, width: number, cells: Float64Array): void {
    const count = Math.floor(cells.length / width);
    if (width < 1 || count === 0) return;
    if (from < this.first || from > this.end || this.length === 0) this.#clear(from);
    while (this.#columns.length < width) this.#widen();
    const skip = this.end - from;
    const added = count - skip;
    if (added <= 0) return;
    this.#reserve(added);
    const at = this.#start + this.length;
    for (let column = 0; column < this.#columns.length; column += 1) {
      const target = this.#columns[column] as Cells;
      for (let row = 0; row < added; row += 1) {
        const value = column < width ? (cells[(skip + row) * width + column] as number) : NaN;
        if (value !== value) this.#gaps[column] = true;
        target[at + row] = value;
      }
    }
    this.length += added;
    const most = Math.floor(MOST_CELLS / this.#columns.length);
    if (this.length > most) {
      const gone = this.length - most;
      this.#start += gone;
      this.first += gone;
      this.length = most;
    }
  }

  #clear(from: number): void {
    this.first = from;
    this.length = this.#start = 0;
    this.#gaps.fill(false);
  }

  #widen(): void {
    const made = new Float64Array(this.#room);
    made.fill(NaN);
    this.#columns.push(made);
    this.#gaps.push(this.length > 0);
  }

  /** Room for more rows behind the last: the arrays are moved or replaced when they are full, and seldom are. */
  #reserve(added: number): void {
    const needed = this.length + added;
    if (this.#start + needed <= this.#room) return;
    const most = 2 * Math.floor(MOST_CELLS / this.#columns.length);
    if (needed * 2 > this.#room && this.#room < most) {
      this.#room = Math.max(BEGIN, Math.min(most, needed * 2), needed);
    } else if (needed > this.#room) {
      this.#room = needed;
    }
    this.#columns = this.#columns.map((column) => {
      const target = column.length === this.#room ? column : new Float64Array(this.#room);
      target.set(column.subarray(this.#start, this.#start + this.length));
      return target;
    });
    this.#start = 0;
  }

  /** The x of row `index` (0: the oldest kept). */
  x(index: number): number {
    return this.value(0, index);
  }

  get last(): number {
    return this.x(this.length - 1);
  }

  /** Index of the first row at `x` or later. */
  at(x: number): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.x(middle) < x) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** A column from one index to another, as uPlot takes it: null where there is no value. */
  slice(column: number, low: number, high: number): ArrayLike<number | null> {
    const cells = this.#columns[column];
    if (cells === undefined) return new Array<null>(high - low).fill(null);
    const part = cells.subarray(this.#start + low, this.#start + high);
    return this.#gaps[column] ? Array.from(part, (value) => (value === value ? value : null)) : part;
  }

  value(column: number, index: number): number {
    // Behind the last the arrays have room, which is no row.
    return index < this.length ? (this.#columns[column]?.[this.#start + index] ?? NaN) : NaN;
  }

  /** The newest number of a column. */
  newest(column: number): number {
    for (let index = this.length - 1; index >= Math.max(0, this.length - 50); index -= 1) {
      const value = this.value(column, index);
      if (value === value) return value;
    }
    return NaN;
  }
}
