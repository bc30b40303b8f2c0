// However a chart's lines came to where they are, row by row or all at once, they look the same.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Lines } from "../../src/plot/lines.js";

/** A canvas as columns of pixels: which line is at which heights. Joins and blending are the browser's. */
class Canvas {
  static strokes = 0;
  columns: string[][] = [];
  globalCompositeOperation = "source-over";
  strokeStyle = "";
  #width = 0;
  #from = 0; // what is clipped
  #path: [number, number][][] = [];
  #rect: number | undefined;

  get width(): number {
    return this.#width;
  }
  set width(width: number) {
    this.#width = width;
    this.columns = Array.from({ length: width }, () => []);
  }
  height = 0;
  getContext = (): this => this;
  save(): void {}
  translate(): void {}
  restore(): void {
    this.#from = 0;
  }
  clearRect(x: number): void {
    this.columns.fill([], x);
  }
  beginPath(): void {
    this.#path = [];
    this.#rect = undefined;
  }
  rect(x: number): void {
    this.#rect = x;
  }
  clip(): void {
    assert.equal(this.#path.length, 0, "it is clipped to a line, too");
    this.#from = this.#rect ?? 0;
  }
  moveTo(x: number, y: number): void {
    this.#path.push([[x, y]]);
  }
  lineTo(x: number, y: number): void {
    this.#path.at(-1)!.push([x, y]);
  }
  stroke(): void {
    assert.equal(this.globalCompositeOperation, "source-over");
    for (const line of this.#path) {
      Canvas.strokes += line.length;
      line.slice(1).forEach(([x, y], index) => {
        const [before, height] = line[index]!;
        for (let at = Math.max(before, this.#from); at <= Math.min(x, this.width - 1); at += 1) {
          const reached = x === before ? y : height + ((y - height) * (at - before)) / (x - before);
          this.columns[at] = [...this.columns[at]!, `${this.strokeStyle} ${reached.toFixed(3)}`];
        }
      });
    }
  }
  drawImage(from: Canvas, x: number): void {
    if (from !== this) return;
    assert.equal(this.globalCompositeOperation, "copy");
    this.columns = this.columns.map((_, at) => this.columns[at - x] ?? []);
  }
  /** But for the first column, in which a row may be that has just left the window. */
  get seen(): string[][] {
    return this.columns.slice(1).map((column) => [...new Set(column)].sort());
  }
}

const made: Canvas[] = [];
Object.assign(globalThis, {
  devicePixelRatio: 1,
  document: { createElement: () => made[made.push(new Canvas()) - 1] },
});

type Row = [x: number, ...values: (number | null)[]];

/** The last `window` of x of some rows, whose first has this number, in a chart so many pixels wide. */
function draw(lines: Lines, rows: Row[], { first = 0, window = 60, width = 300, top = 100, show = true } = {}): void {
  const last = rows.at(-1)![0];
  const [min, max] = Lines.snapped([last - window, last], width);
  const low = Math.max(0, rows.findIndex(([x]) => x >= min) - 1);
  const kept = rows.slice(low);
  const data = [0, 1, 2].map((column) => kept.map((row) => row[column] ?? null));
  const colours = ["", "red", "blue"];
  const u = {
    bbox: { left: 0, top: 0, width, height: 100 },
    ctx: { drawImage: () => undefined },
    data,
    scales: { x: { min, max }, y: { min: 0, max: top } },
    series: colours.map((colour, index) => ({ scale: index ? "y" : "x", show: index !== 2 || show, stroke: () => colour })),
  };
  lines.draw(u as never, first + low);
}

const whole = (rows: Row[], options = {}): string[][] => {
  draw(new Lines(), rows, options);
  return made.at(-1)!.seen;
};

/** Two lines that jump, one of them with gaps; some rows share a pixel, some are far apart. */
const rows = Array.from({ length: 900 }, (_, n): Row => {
  const x = 1.7e9 + 0.1 * n + (n % 90 > 80 ? 0.05 : 0) + (n > 600 ? 1.3 : 0);
  return [x, (n * 37) % 100, n % 23 < 3 ? null : 50 + 40 * Math.sin(n / 5)];
});

test("row by row the picture is as if all were drawn at once, and little of it is drawn", () => {
  const lines = new Lines();
  const canvas = made.at(-1)!;
  for (let count = 1; count <= rows.length; count += count % 7 === 0 ? 5 : 1) {
    draw(lines, rows.slice(0, count), { first: 40 });
    if (count % 50 > 44) assert.deepEqual(canvas.seen, whole(rows.slice(0, count), { first: 40 }), `${count} rows`);
  }
  Canvas.strokes = 0;
  draw(lines, rows, { first: 40 });
  const again = Canvas.strokes;
  assert.ok(again < 60, `${again} corners`);
});

test("other scales, another width, a line hidden: all is drawn anew", () => {
  const lines = new Lines();
  const canvas = made.at(-1)!;
  for (const options of [{}, { top: 200 }, { width: 310 }, { window: 30 }, { show: false }, {}]) {
    draw(lines, rows.slice(0, 500), options);
    assert.deepEqual(canvas.seen, whole(rows.slice(0, 500), options), JSON.stringify(options));
  }
});

test("back in time, far ahead, and after rows that never came, all is drawn anew", () => {
  const lines = new Lines();
  const canvas = made.at(-1)!;
  for (const [from, count] of [[0, 300], [0, 100], [0, 900], [0, 300], [500, 520]] as const) {
    draw(lines, rows.slice(from, count), { first: from });
    assert.deepEqual(canvas.seen, whole(rows.slice(from, count), { first: from }), `${from} to ${count}`);
  }
});
