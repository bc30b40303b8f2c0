// Numbers as people read them: sizes, rates, percents, durations, counts. The twin of _base/numbers.py, which says what
// the convention is; tests/vectors/text.json holds both to it. What is not known is the empty text.

export const BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
/** Parts of a second: below how many seconds, how many of them one is, what it is called. */
export const SECONDS: [below: number, factor: number, name: string][] = [
  [999.5e-9, 1e-9, "ns"],
  [999.5e-6, 1e-6, "µs"],
  [0.9995, 1e-3, "ms"],
];

type Unknown = null | undefined;
export const known = (value: number | Unknown): value is number => Number.isFinite(value);

/** `digits` that count, at most `places` of them behind the point; the digits of whole numbers are never cut. */
export function number(value: number, digits = 3, places = 20): string {
  let [text, power] = Math.abs(value).toExponential(digits - 1).split("e") as [string, string];
  const exponent = Number(power);
  const usual = exponent > -7 && exponent < 21;
  if (usual) {
    const behind = Math.min(places, Math.max(0, digits - 1 - exponent));
    text = (Math.floor(Math.abs(value) * 10 ** behind + 0.5) / 10 ** behind).toFixed(behind);
  }
  if (text.includes(".")) text = text.replace(/\.?0+$/, "");
  if (!usual) text += `e${exponent}`;
  return value < 0 && text !== "0" ? `-${text}` : text;
}

/** 1234 → "1,234" */
export function count(value: number): string {
  return value.toLocaleString("en");
}

/** "1 file", "2 files", "1,234 processes" */
export function plural(value: number, thing: string): string {
  return `${count(value)} ${thing}${value === 1 ? "" : thing.endsWith("s") ? "es" : "s"}`;
}

/** The unit that so many bytes are said in: how many one is, and its name. */
export function byteUnit(value: number): [factor: number, name: string] {
  let power = 0;
  // From where bytes that are counted, or three digits, do not suffice.
  for (let most = 1023.5; Math.abs(value) >= most * 1024 ** power && power < BYTES.length - 1; power += 1) most = 999.5;
  return [1024 ** power, BYTES[power] as string];
}

/** Bytes: "15.8 MiB" */
export function size(value: number | Unknown): string {
  if (!known(value)) return "";
  const [factor, name] = byteUnit(value);
  return `${number(value / factor)} ${name}`;
}

/** Bytes a second: "15.8 MiB/s" */
export function rate(value: number | Unknown): string {
  return size(value) && `${size(value)}/s`;
}

/** "12.3 %" */
export function percent(value: number | Unknown): string {
  return known(value) ? `${number(value, 3, 1)} %` : "";
}

/** Bytes of so many: "1.5 MiB of 4 MiB"; without the whole while that is not known (0). */
export function progress(done: number, whole: number): string {
  return whole > 0 ? `${size(done)} of ${size(whole)}` : done > 0 ? size(done) : "";
}

/** How much of it there is: "42 %"; "100 %" is all. Empty while the whole is not known. */
export function share(part: number, whole: number): string {
  return whole > 0 ? `${Math.floor((100 * Math.min(Math.max(part, 0), whole)) / whole)} %` : "";
}

/** How long something took: "35 µs", "12.3 s", "1 min 05 s", "2 h", "4 d 03 h" */
export function duration(seconds: number | Unknown): string {
  if (!known(seconds)) return "";
  if (seconds < 0) return `-${duration(-seconds)}`;
  if (seconds < 59.95) {
    const [, factor, name] = SECONDS.find(([below]) => seconds > 0 && seconds < below) ?? [0, 1, "s"];
    return `${number(seconds / factor)} ${name}`;
  }
  const text =
    seconds < 3599.5
      ? two(Math.floor(seconds + 0.5), 60, "min", "s")
      : seconds < 86370
        ? two(Math.floor(seconds / 60 + 0.5), 60, "h", "min")
        : two(Math.floor(seconds / 3600 + 0.5), 24, "d", "h");
  return text.replace(/ 00 .*/, "");
}

/** How long something goes on: "42 s", "3 min 20 s", "2 h 05 min", "4 d 03 h": whole, always as long. */
export function elapsed(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return two(whole, 60, "min", "s");
  return whole < 86400 ? two(Math.floor(whole / 60), 60, "h", "min") : two(Math.floor(whole / 3600), 24, "d", "h");
}

function two(number: number, each: number, large: string, small: string): string {
  return `${Math.floor(number / each)} ${large} ${String(number % each).padStart(2, "0")} ${small}`;
}
