// The lines of a chart, kept as a picture of their own. Time moves it to the left by whole pixels, and only what is new
// is drawn: all of them, ten times a second, would be half of what a plot costs. The rest is uPlot's.
import type uPlot from "uplot";

/** In CSS pixels, as uPlot would have it. */
const WIDTH = 1.5;

export class Lines {
  readonly #layer = document.createElement("canvas");
  #drawn = ""; // of what the picture is, but for when
  #origin = 0; // its left edge, in pixels since x was 0
  #upto = 0; // the number of the first row that is not in it

  /** The limits that are at whole pixels, and show as much; as they are while nobody knows how wide a pixel is. */
  static snapped([low, high]: [number, number], pixels: number): [number, number] {
    if (!(pixels > 0)) return [low, high];
    const each = (high - low) / pixels;
    const end = Math.ceil(high / each - 1e-6) * each;
    return [end - (high - low), end];
  }

  /** Into the chart, whose first row has this number. */
  draw(u: uPlot, first: number): void {
    const { data } = u;
    if (!data[0]?.length) return;
    const { left, top, width, height } = u.bbox;
    const scales = u.series.map(({ scale = "" }) => u.scales[scale]);
    const { min = 0, max = 1 } = scales[0] ?? {};
    const line = WIDTH * devicePixelRatio;
    const per = width / ((max ?? 1) - (min ?? 0));
    const looks = u.series.slice(1).map(({ show, stroke }, index) => [show, String(stroke), scales[index + 1]?.min, scales[index + 1]?.max]);
    const wanted = JSON.stringify([width, height, line, per, looks]);
    const origin = Math.round((min ?? 0) * per);
    const moved = origin - this.#origin;
    const x = (index: number): number => Math.round((data[0][index] as number) * per) - origin;
    let known = this.#upto - first;
    const context = this.#layer.getContext("2d") as CanvasRenderingContext2D;
    if (wanted !== this.#drawn || moved < 0 || moved >= width || known < 1 || known > data[0].length) {
      this.#layer.width = width + Math.ceil(line); // which empties it
      this.#layer.height = height + Math.ceil(line);
      known = 0;
    } else if (moved > 0) {
      context.globalCompositeOperation = "copy";
      context.drawImage(this.#layer, -moved, 0);
      context.globalCompositeOperation = "source-over";
    }
    this.#drawn = wanted;
    this.#origin = origin;
    context.save();
    let from = 0;
    if (known > 0) {
      // From the last row that is there: it was an end, and is a corner now.
      const edge = Math.max(0, x(known - 1) - Math.ceil(line));
      for (from = known - 1; from > 0 && x(from) >= edge - line; ) from -= 1;
      context.clearRect(edge, 0, this.#layer.width, this.#layer.height);
      context.beginPath();
      context.rect(edge, 0, this.#layer.width, this.#layer.height);
      context.clip();
    }
    context.translate((line % 2) / 2, (line % 2) / 2);
    context.lineWidth = line;
    context.lineJoin = "round";
    u.series.forEach(({ show, stroke }, index) => {
      const { min: low, max: high } = scales[index] ?? {};
      if (index === 0 || !show || low == null || high == null) return;
      const y = (value: number): number => Math.round(height * (1 - (value - low) / (high - low)));
      context.strokeStyle = typeof stroke === "function" ? (stroke(u, index) as string) : "";
      context.beginPath();
      trace(context, data[index] as ArrayLike<number | null>, from, x, y);
      context.stroke();
    });
    context.restore();
    // What lies behind the right edge is to be drawn again once it comes into sight.
    let upto = data[0].length;
    while (upto > 0 && x(upto - 1) > width) upto -= 1;
    this.#upto = first + upto;
    u.ctx.drawImage(this.#layer, left, top);
  }
}

/** One line, from a row on; of rows within one pixel the first and last, the least and most. */
function trace(
  to: Pick<CanvasRenderingContext2D, "moveTo" | "lineTo">,
  values: ArrayLike<number | null>,
  from: number,
  x: (index: number) => number,
  y: (value: number) => number,
): void {
  let at: number | undefined; // undefined: the line begins
  let low = 0;
  let high = 0;
  let last = 0;
  const leave = (): void => {
    if (at === undefined || (low === high && low === last)) return;
    to.lineTo(at, low);
    to.lineTo(at, high);
    to.lineTo(at, last);
  };
  for (let index = from; index < values.length; index += 1) {
    const value = values[index];
    if (value == null) {
      leave();
      at = undefined;
      continue;
    }
    const [across, up] = [x(index), y(value)];
    if (across === at) {
      low = Math.min(low, up);
      high = Math.max(high, up);
      last = up;
      continue;
    }
    leave();
    if (at === undefined) to.moveTo(across, up);
    else to.lineTo(across, up);
    at = across;
    low = high = last = up;
  }
  leave();
}
