// uPlot on a stretch of rows: one scale for each unit, the first two with an axis; drag to zoom.
import uPlot from "uplot";
import { Lines } from "./lines.js";
import { bounds, clock, labels, step, ticks, timeStep } from "./units.js";

export interface Line {
  name: string;
  unit: string;
  color: string;
  visible: boolean;
}

export interface Told {
  /** Somebody marked a stretch of x, or asked for all again (null). */
  zoom(range: [number, number] | null): void;
  /** The pointer is at a row of the data given (null: nowhere). */
  hover(index: number | null): void;
  /** A key was pressed at the chart; whether it meant something. */
  key(key: string, shift: boolean): boolean;
}

const FONT = "11px";
const HEIGHT = 220;
const TICK_GAP = 90; // pixels between ticks of x

export class Chart {
  readonly #plot: uPlot;
  readonly #lines = new Lines();
  #limits: [number, number] = [0, 1];
  #first = 0;
  #width = 0;
  /** The mouse is marking a stretch: the picture under it must stay. */
  marking = false;

  constructor(
    private readonly box: HTMLElement,
    lines: Line[],
    private readonly time: boolean,
    private readonly told: Told,
  ) {
    const style = getComputedStyle(box);
    const family = style.getPropertyValue("--tfnz-ui").trim() || "sans-serif";
    const ink = style.getPropertyValue("--tfnz-dim").trim() || "#666";
    const grid = { stroke: style.getPropertyValue("--tfnz-line").trim() || "#ddd", width: 1 };
    const font = `${FONT} ${family}`;
    const units = [...new Set(lines.map((line) => line.unit))];
    const look = { stroke: ink, font, ticks: { show: false } };
    this.#width = box.clientWidth;
    const y = (unit: string, side: 1 | 3): uPlot.Axis => ({
      ...look,
      side,
      scale: `y${unit}`,
      grid: { ...grid, show: side === 3 },
      gap: 6,
      size: (u, values, index) => this.#room(u, values, index),
      splits: (_u, _axis, low, high) => ticks(low, high, bounds(low, high, unit)[2]),
      values: (_u, splits) => labels(splits, unit),
    });
    this.#plot = new uPlot(
      {
        width: Math.max(50, this.#width),
        height: HEIGHT,
        legend: { show: false },
        padding: [8, 12, 0, 4],
        cursor: {
          y: false,
          drag: { x: true, y: false, setScale: false },
          points: { size: 6 },
          bind: { dblclick: () => () => (this.told.zoom(null), null) },
        },
        scales: {
          x: { time: false, range: () => this.#limits },
          ...Object.fromEntries(
            units.map((unit) => [`y${unit}`, { range: (_u, low, high) => this.#vertical(low, high, unit) } satisfies uPlot.Scale]),
          ),
        },
        axes: [
          {
            ...look,
            grid,
            gap: 7,
            size: 27,
            splits: (u, _axis, low, high) => this.#across(u, low, high),
            values: (_u, splits) => this.#below(splits),
          },
          ...units.slice(0, 2).map((unit, index) => y(unit, index === 0 ? 3 : 1)),
        ],
        series: [
          {},
          ...lines.map((line): uPlot.Series => ({
            label: line.name,
            scale: `y${line.unit}`,
            stroke: line.color,
            paths: () => null, // see lines.ts
            show: line.visible,
            points: { show: (u, _series, first, last) => last - first < 1 && u.data[0].length < 3 },
          })),
        ],
        hooks: {
          draw: [(u) => this.#lines.draw(u, this.#first)],
          setSelect: [(u) => this.#marked(u)],
          setCursor: [(u) => !this.#led && this.told.hover(u.cursor.idx ?? null)],
        },
      },
      undefined,
      box,
    );
    box.onkeydown = (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey || event.target !== box || !told.key(event.key, event.shiftKey)) return;
      event.preventDefault();
      event.stopPropagation();
    };
    this.#plot.over.addEventListener("mousedown", (event) => (this.marking = event.button === 0));
    // It ends wherever the button is let go; uPlot hears that too, and calls setSelect.
    this.#release = (): void => {
      this.marking = false;
    };
    window.addEventListener("mouseup", this.#release);
  }

  readonly #release: () => void;

  #vertical(low: number | null, high: number | null, unit: string): [number, number] {
    const [bottom, top] = bounds(low ?? NaN, high ?? NaN, unit);
    return [bottom, top];
  }

  /** As wide as its labels; it never shrinks, so that the picture does not jump. */
  readonly #rooms = new Map<number, number>();
  #room(_u: uPlot, values: string[] | null, index: number): number {
    const longest = Math.max(0, ...(values ?? []).map((value) => value.length));
    const wide = Math.max(28, Math.ceil(longest * 6.4) + 12, this.#rooms.get(index) ?? 0);
    this.#rooms.set(index, wide);
    return wide;
  }

  #distance = 1;
  #across(u: uPlot, low: number, high: number): number[] {
    const most = Math.max(2, u.bbox.width / devicePixelRatio / TICK_GAP);
    if (!this.time) {
      this.#distance = step(low, high, most);
      return ticks(low, high, this.#distance);
    }
    this.#distance = timeStep(high - low, most);
    // Round in local time: an offset of half an hour must not shift the hours.
    const offset = -60 * new Date(high * 1000).getTimezoneOffset();
    return ticks(low + offset, high + offset, this.#distance).map((tick) => tick - offset);
  }

  #below(splits: number[]): string[] {
    return this.time ? splits.map((tick) => clock(tick, this.#distance)) : labels(splits, "");
  }

  #marked(u: uPlot): void {
    const { left, width } = u.select;
    if (width < 4) return;
    const marked: [number, number] = [u.posToVal(left, "x"), u.posToVal(left + width, "x")];
    this.marking = false;
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.told.zoom(marked);
  }

  /** How much of x a pixel is. */
  get pixel(): number {
    return (this.#limits[1] - this.#limits[0]) / this.#plot.bbox.width;
  }

  /** Draws the rows given, x first, between two x; `first` is the number of the first of them. */
  draw(data: uPlot.AlignedData, [low, high]: [number, number], first: number): void {
    this.#limits = Lines.snapped(high > low ? [low, high] : [low - 1, low], this.#plot.bbox.width);
    this.#first = first;
    this.#plot.setData(data);
  }

  #led = false;
  /** Put the pointer at an x; null: away. Nobody is told. */
  point(x: number | null): void {
    const left = x === null ? -10 : this.#plot.valToPos(x, "x");
    this.#led = true;
    this.#plot.setCursor({ left: left <= this.#plot.bbox.width / devicePixelRatio ? left : -10, top: 10 });
    this.#led = false;
  }

  show(index: number, visible: boolean): void {
    this.#plot.setSeries(index + 1, { show: visible });
  }

  /** Takes the width that its box has now. */
  fit(): void {
    const wide = this.box.clientWidth;
    if (wide === this.#width || wide < 50) return;
    this.#width = wide;
    this.#plot.setSize({ width: wide, height: HEIGHT });
  }

  destroy(): void {
    window.removeEventListener("mouseup", this.#release);
    this.#plot.destroy();
  }
}
