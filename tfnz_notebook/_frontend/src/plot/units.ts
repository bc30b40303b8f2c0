// Numbers with the units of a plot's columns, and where an axis has its ticks. The twin of plots/units.py.
import { BYTES, SECONDS, byteUnit, duration, known, number, percent } from "../text/numbers.js";

const PLAIN = ["", "k", "M", "G", "T", "P", "E"];
/** Round distances of bytes: of a unit, or parts of it. */
const ROUND = [0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 50, 64, 100, 128, 200, 256, 512];
const STEPS = BYTES.flatMap((_, power) => ROUND.map((each) => each * 1024 ** power)).sort((a, b) => a - b);
const TIMES = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200];
const DAY = 86400;
/** Ticks of an axis, at most. */
const MOST = 5;

const inBytes = (unit: string): boolean => /^B(\/|$)/.test(unit);

/** A number with its unit: "3.4 MiB/s", "12 %", "250 ms", "45k/s"; a dash for none. */
export function human(value: number | null | undefined, unit = ""): string {
  if (!known(value)) return "-";
  if (unit === "s") return duration(value);
  if (unit === "%") return percent(value);
  const [factor, name] = scale(Math.abs(value), unit);
  return number(value / factor) + name;
}

/**
 * For numbers up to `largest`: what to divide by, and what to write behind. Without a unit the prefix is part of the
 * number: "45k", "45k/s", but "45 kreq".
 */
function scale(largest: number, unit: string): [factor: number, name: string] {
  if (unit === "s") {
    for (const [below, factor, name] of SECONDS) if (largest > 0 && largest < below) return [factor, ` ${name}`];
    return largest < 120 ? [1, " s"] : largest < 7200 ? [60, " min"] : [3600, " h"];
  }
  if (inBytes(unit)) {
    const [factor, name] = byteUnit(largest);
    return [factor, ` ${name}${unit.slice(1)}`];
  }
  let power = 0;
  for (let most = 9999.5; unit !== "%" && largest >= most * 1000 ** power && power < PLAIN.length - 1; power += 1) most = 999.5;
  const prefix = PLAIN[power] as string;
  return [1000 ** power, unit === "" || unit === "1/s" ? prefix + unit.slice(1) : ` ${prefix}${unit}`];
}

const largest = (ticks: readonly number[]): number => Math.max(0, ...ticks.map(Math.abs));

/** What stands at ticks: all in one unit, as exact as they are. */
export function labels(ticks: readonly number[], unit: string): string[] {
  const [factor, name] = scale(largest(ticks), unit);
  return ticks.map((tick) => number(tick / factor, 6) + (tick ? name : ""));
}

/**
 * A round distance of ticks, so that at most `most` of them lie between. Of bytes: round in the unit that they are
 * labelled with, and of at most three digits there.
 */
export function step(low: number, high: number, most: number, unit = ""): number {
  const span = high - low;
  if (!(span > 0) || !Number.isFinite(span)) return 1;
  const rough = span / Math.max(1, most);
  const found = inBytes(unit) && STEPS.find((each) => each >= 1 && each >= rough && short(around(low, high, each), unit));
  if (found) return found;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 2.5, 5, 10].find((factor) => rough <= power * factor) ?? 20);
}

function short(ticks: readonly number[], unit: string): boolean {
  const [factor] = scale(largest(ticks), unit);
  const said = (tick: number, digits: number): number => Number((tick / factor).toPrecision(digits));
  return factor === 1 || ticks.every((tick) => said(tick, 3) === said(tick, 9));
}

/** A round distance of ticks of time. */
export function timeStep(span: number, most: number): number {
  const rough = span / Math.max(1, most);
  if (rough < 1) return step(0, span, most);
  return TIMES.find((each) => rough <= each) ?? Math.ceil(rough / DAY) * DAY;
}

const multiples = (first: number, last: number, distance: number): number[] =>
  Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => (first + index) * distance);

/** The multiples of `distance` from that at or below `low` to that at or above `high`. */
function around(low: number, high: number, distance: number): number[] {
  const first = Math.floor(low / distance + 1e-9);
  return multiples(first, Math.max(Math.ceil(high / distance - 1e-9), first + 1), distance);
}

/** The multiples of `distance` from `low` to `high`; at most 100. */
export function ticks(low: number, high: number, distance: number): number[] {
  const first = Math.ceil(low / distance - 1e-9);
  return multiples(first, Math.min(Math.floor(high / distance + 1e-9), first + 99), distance);
}

/** From 0, or below if something is, to a round number above all; percents to 100 if near. */
export function bounds(low: number, high: number, unit: string): [low: number, high: number, distance: number] {
  const top = Number.isFinite(high) ? Math.max(high, 0) : 1;
  let bottom = Number.isFinite(low) ? low : 0;
  // Else what moves little would not be seen to.
  if (!(0.02 * top < top - bottom && top - bottom < 0.2 * top)) bottom = Math.min(bottom, 0);
  const above = top <= bottom ? bottom + 1 : top;
  if (unit === "%" && bottom >= 0 && above > 50 && above <= 100) return [0, 100, 20];
  const distance = step(bottom, above, MOST, unit);
  const found = around(bottom, above, distance);
  return [found[0] as number, found[found.length - 1] as number, distance];
}

/** The hour of a moment (seconds since the epoch), as fine as ticks that far apart want it. */
export function clock(moment: number, distance: number): string {
  const at = new Date(moment * 1000);
  if (distance >= DAY) return at.toLocaleDateString(undefined, { day: "numeric", month: "short" });
  const parts = [at.getHours(), at.getMinutes(), at.getSeconds()].slice(0, distance >= 60 ? 2 : 3);
  const time = parts.map((part) => String(part).padStart(2, "0")).join(":");
  return distance >= 1 ? time : time + number(((moment % 1) + 1) % 1, 3, 2).slice(1);
}
