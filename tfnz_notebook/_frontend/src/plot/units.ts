// Numbers for people, and where an axis has its ticks. plots/units.py says the same; tests/unit/plots/units.json holds both to it.

const BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const PLAIN = ["", "k", "M", "G", "T", "P", "E"];
const SECONDS: [below: number, factor: number, name: string][] = [
  [1e-6, 1e-9, "ns"],
  [1e-3, 1e-6, "µs"],
  [1, 1e-3, "ms"],
];
const GLUED = ["", "k", "M", "G", "T", "P", "E", "/"];
const TIMES = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200];
const DAY = 86400;

/** Three digits that count, no more zeros than they need. */
function digits(value: number): string {
  const size = Math.abs(value);
  const text = value.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
  const short = text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  return short === "-0" ? "0" : short;
}

/** For numbers up to `largest`: what to divide by, and what to write behind. */
export function scale(largest: number, unit: string): [factor: number, name: string] {
  let left = Number.isFinite(largest) ? largest : 0;
  const slash = unit.indexOf("/");
  const size = slash < 0 ? unit : unit.slice(0, slash);
  const rate = slash < 0 ? "" : unit.slice(slash);
  if (unit === "s") {
    for (const [below, factor, name] of SECONDS) if (left > 0 && left < below) return [factor, name];
    return left < 120 ? [1, "s"] : left < 7200 ? [60, "min"] : [3600, "h"];
  }
  let power = 0;
  if (size === "B") {
    for (; left >= 1024 && power < BYTES.length - 1; power += 1) left /= 1024;
    return [1024 ** power, `${BYTES[power]}${rate}`];
  }
  if (unit !== "%") for (; left >= (power === 0 ? 10000 : 1000) && power < PLAIN.length - 1; power += 1) left /= 1000;
  return [1000 ** power, `${PLAIN[power]}${unit === "1/s" ? "/s" : unit}`];
}

/** A number with its unit; a dash for none. */
export function human(value: number | null | undefined, unit = ""): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "-";
  const [factor, name] = scale(Math.abs(value), unit);
  const text = digits(value / factor);
  const glued = GLUED.includes(name.slice(0, 1)) && (unit === "" || unit === "1/s");
  return glued ? text + name : `${text} ${name}`.trimEnd();
}

/** A tick's number with the unit that its axis has. */
export function tickLabel(tick: number, factor: number, name: string): string {
  const text = String(Number((tick / factor).toPrecision(6)));
  return name && tick !== 0 ? `${text} ${name}` : text;
}

/** A round distance of ticks, so that at most `most` of them lie in `span`. */
export function step(span: number, most: number, binary = false): number {
  if (!(span > 0) || !Number.isFinite(span)) return 1;
  const rough = span / Math.max(1, most);
  if (binary) {
    const power = rough > 1 ? 1024 ** Math.max(0, Math.floor(Math.log2(rough) / 10)) : 1;
    for (const factor of [1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 50, 64, 100, 128, 200, 256, 512, 1024]) {
      if (rough <= power * factor) return power * factor;
    }
  }
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 2.5, 5, 10].find((factor) => rough <= power * factor) ?? 20);
}

/** A round distance of ticks of time. */
export function timeStep(span: number, most: number): number {
  const rough = span / Math.max(1, most);
  if (rough < 1) return step(span, most);
  return TIMES.find((each) => rough <= each) ?? Math.ceil(rough / DAY) * DAY;
}

/** The multiples of `distance` from `low` to `high`; at most 100. */
export function ticks(low: number, high: number, distance: number): number[] {
  const first = Math.ceil(low / distance - 1e-9);
  const last = Math.min(Math.floor(high / distance + 1e-9), first + 99);
  const found = [];
  for (let number = first; number <= last; number += 1) found.push(number * distance);
  return found;
}

/** From 0, or below if something is, to a round number above all; percents to 100 if near. As picture.axis. */
export function range(low: number, high: number, unit: string): [low: number, high: number, distance: number] {
  let top = Number.isFinite(high) ? Math.max(high, 0) : 1;
  let bottom = Number.isFinite(low) ? low : 0;
  // Else what moves little would not be seen to.
  if (!(0.02 * top < top - bottom && top - bottom < 0.2 * top)) bottom = Math.min(bottom, 0);
  if (top <= bottom) top = bottom + 1;
  if (unit === "%" && bottom >= 0 && top > 50 && top <= 100) return [0, 100, 20];
  const distance = step(top - bottom, 5, unit === "B" || unit.startsWith("B/"));
  const first = Math.floor(bottom / distance + 1e-9) * distance;
  return [first, Math.max(Math.ceil(top / distance - 1e-9) * distance, first + distance), distance];
}

/** The hour of a moment (seconds since the epoch), as fine as ticks that far apart want it. */
export function clock(moment: number, distance: number): string {
  const at = new Date(moment * 1000);
  const two = (n: number): string => String(n).padStart(2, "0");
  if (distance >= DAY) return at.toLocaleDateString(undefined, { day: "numeric", month: "short" });
  const minutes = `${two(at.getHours())}:${two(at.getMinutes())}`;
  if (distance >= 60) return minutes;
  const seconds = `${minutes}:${two(at.getSeconds())}`;
  if (distance >= 1) return seconds;
  return seconds + (((moment % 1) + 1) % 1).toFixed(2).slice(1).replace(/\.?0+$/, "");
}
