// How processes end, in words: the same in every view. widgets/status.py is the twin.

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

/** Linux's, whatever the page runs on. */
const SIGNALS: Record<number, string> = {
  1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 5: "TRAP", 6: "ABRT", 7: "BUS", 8: "FPE", 9: "KILL", 10: "USR1",
  11: "SEGV", 12: "USR2", 13: "PIPE", 14: "ALRM", 15: "TERM", 16: "STKFLT", 17: "CHLD", 18: "CONT", 19: "STOP",
  20: "TSTP", 21: "TTIN", 22: "TTOU", 23: "URG", 24: "XCPU", 25: "XFSZ", 26: "VTALRM", 27: "PROF", 28: "WINCH",
  29: "IO", 30: "PWR", 31: "SYS", 34: "RTMIN", 64: "RTMAX",
};

/** "SIGTERM" for 15, or "SIGTERM (15)"; "signal 99" for one without a name. */
function signalName(number: number, numbered = false): string {
  const name = SIGNALS[number];
  if (!name) return `signal ${number}`;
  return numbered ? `SIG${name} (${number})` : `SIG${name}`;
}

/** How it ended, in words, and whether well. */
export function ending(info: ProcessInfo): { text: string; ok: boolean } {
  const { returncode } = info;
  if (info.timed_out) return { text: "timed out", ok: false };
  if (info.oom) return { text: "out of memory", ok: false };
  if (returncode === null || returncode === undefined) return { text: "gone", ok: false };
  if (returncode < 0) return { text: `killed by ${signalName(-returncode, true)}`, ok: false };
  return { text: `exit ${returncode}`, ok: returncode === 0 };
}

/** The same in a column: "exit 3", "SIGTERM", "SIGKILL (memory)". */
export function short(returncode: number, why = ""): string {
  const said = returncode < 0 ? signalName(-returncode) : `exit ${returncode}`;
  return why && returncode ? `${said} (${why})` : said;
}
