// Numbers and endings in words: the same in every view.

/** A process's state as VIEWS.md has it. */
export interface ProcessInfo {
  state: "starting" | "running" | "ended" | "gone";
  command?: string | null;
  container?: string | null;
  pid?: number | null;
  returncode: number | null;
  timed_out?: boolean;
  oom?: boolean;
  tty?: boolean;
  rows?: number;
  columns?: number;
  started: number;
  ran: number | null;
  out: number;
  err: number;
  retain?: string;
  now: number;
}

const SIGNALS: Record<number, string> = {
  1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 5: "TRAP", 6: "ABRT", 7: "BUS", 8: "FPE", 9: "KILL", 10: "USR1",
  11: "SEGV", 12: "USR2", 13: "PIPE", 14: "ALRM", 15: "TERM", 16: "STKFLT", 24: "XCPU", 25: "XFSZ", 31: "SYS",
};

export function signalName(number: number): string {
  const name = SIGNALS[number];
  return name ? `SIG${name} (${number})` : `signal ${number}`;
}

/** How it ended, in words, and whether well. */
export function ending(info: ProcessInfo): { text: string; ok: boolean } {
  const { returncode } = info;
  if (info.timed_out) return { text: "timed out", ok: false };
  if (info.oom) return { text: "out of memory", ok: false };
  if (returncode === null || returncode === undefined) return { text: "gone", ok: false };
  if (returncode < 0) return { text: `killed by ${signalName(-returncode)}`, ok: false };
  return { text: `exit ${returncode}`, ok: returncode === 0 };
}

/** 1234567 → "1.2 MB": decimal, as the disks' makers count. */
export function size(bytes: number): string {
  if (!(bytes >= 1000)) return `${Math.max(0, Math.round(bytes) || 0)} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 99.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** 75.3 → "1 min 15 s"; `exact` shows the parts of a second of what is over. */
export function duration(seconds: number, exact = false): string {
  const s = Math.max(0, seconds);
  if (exact && s < 1) return `${Math.round(s * 1000)} ms`;
  if (exact && s < 59.95) return `${s.toFixed(1)} s`;
  const whole = Math.floor(s);
  if (whole < 60) return `${whole} s`;
  const two = (n: number): string => String(n).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${two(Math.floor(whole / 60) % 60)} min`;
  return `${Math.floor(whole / 86400)} d ${two(Math.floor(whole / 3600) % 24)} h`;
}
