// A stream of bytes as styled text: what a line-oriented view shows of it, wherever the chunks are cut. The rules are in
// widgets/saved/ansi.py, which does the same for what is saved; tests/vectors/text.json holds both to them.

/** An index of the palette (0 to 255) or "#rrggbb"; undefined: as the text around. */
export type Colour = number | string | undefined;

export interface Style {
  readonly fg?: Colour;
  readonly bg?: Colour;
  readonly bold?: boolean;
  readonly dim?: boolean;
  readonly italic?: boolean;
  readonly underline?: boolean;
  readonly strike?: boolean;
  readonly inverse?: boolean;
  readonly hidden?: boolean;
}

export const PLAIN: Style = Object.freeze({});

/** Where a stream's text goes. */
export interface Sink {
  text(text: string, style: Style): void;
  newline(): void;
  carriageReturn(): void;
  backspace(): void;
  tab(style: Style): void;
  erase(how: number): void;
  column(number: number): void;
  /** To another line: so many down, or up if less than nothing; in the same column, or to its first. */
  move(lines: number, home: boolean): void;
}

const CONTROL = /[\x00-\x1f\x7f-\x9f]/g;
const HIDDEN =
  /[\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e0fff}]/gu;
const CSI = /([0-?]*[ -/]*)([@-~]?)/y;
const ESCAPE = /[ -/]*([0-~]?)/y;
const STRING_END = /[\x07\x1b\x9c\n\x18\x1a]/g;
/** Of an unfinished sequence so much is kept; one as long does nothing. */
const LONGEST_SEQUENCE = 256;

/** Text in which nothing turns others around or hides. */
export function visible(text: string): string {
  return text.replace(HIDDEN, (found) => {
    const code = found.codePointAt(0) as number;
    return `<U+${code.toString(16).toUpperCase().padStart(4, "0")}>`;
  });
}

// A byte order mark is a character that hides, like others.
const decoder = (): TextDecoder => new TextDecoder("utf-8", { ignoreBOM: true });

export class Ansi {
  private decoder = decoder();
  private rest = ""; // an unfinished sequence
  private inString = false; // OSC and its like, until their end
  private style: Style = PLAIN;

  constructor(private readonly sink: Sink) {}

  feed(bytes: Uint8Array): void {
    this.take(this.decoder.decode(bytes, { stream: true }));
  }

  /** The stream is over, or goes on elsewhere: what was unfinished is done with. */
  end(): void {
    this.take(this.decoder.decode());
    this.decoder = decoder();
    this.rest = "";
    this.inString = false;
    this.style = PLAIN;
  }

  private take(piece: string): void {
    const text = this.rest + piece;
    this.rest = "";
    let at = 0;
    while (at < text.length) {
      if (this.inString) {
        at = this.skipString(text, at);
        continue;
      }
      CONTROL.lastIndex = at;
      const found = CONTROL.exec(text);
      const until = found ? found.index : text.length;
      if (until > at) this.sink.text(text.slice(at, until), this.style);
      at = found ? this.control(text, until) : until;
    }
  }

  /** Deals with the control at `at`; says where to go on. */
  private control(text: string, at: number): number {
    switch (text.charCodeAt(at)) {
      case 0x0a:
        this.sink.newline();
        break;
      case 0x0d:
        this.sink.carriageReturn();
        break;
      case 0x08:
        this.sink.backspace();
        break;
      case 0x09:
        this.sink.tab(this.style);
        break;
      case 0x1b:
        return this.escape(text, at);
      case 0x9b:
        return this.csi(text, at, at + 1);
      case 0x90:
      case 0x98:
      case 0x9d:
      case 0x9e:
      case 0x9f:
        this.inString = true;
        break;
      default: // the bell, NUL, shifts: nothing to see
    }
    return at + 1;
  }

  private escape(text: string, at: number): number {
    if (at + 1 >= text.length) return this.later(text, at);
    const next = text[at + 1] as string;
    if (next === "[") return this.csi(text, at, at + 2);
    if ("]PX^_".includes(next)) {
      this.inString = true;
      return at + 2;
    }
    ESCAPE.lastIndex = at + 1;
    const [part, final] = ESCAPE.exec(text) as unknown as [string, string];
    const end = at + 1 + part.length;
    return final || end < text.length ? end : this.later(text, at);
  }

  private csi(text: string, at: number, from: number): number {
    CSI.lastIndex = from;
    const [all, parameters, final] = CSI.exec(text) as unknown as [string, string, string];
    const end = from + all.length;
    if (!final && end === text.length) return this.later(text, at);
    if (final === "m") this.style = sgr(this.style, parameters);
    else if (/^\d{0,9}$/.test(parameters)) {
      if (final === "K") this.sink.erase(Number(parameters));
      else if (final === "G") this.sink.column(Number(parameters || 1));
      else if ("ABEF".includes(final)) {
        const count = Math.max(1, Number(parameters));
        this.sink.move("AF".includes(final) ? -count : count, "EF".includes(final));
      }
    }
    return end;
  }

  /** Keeps what began at `at` until more has come. */
  private later(text: string, at: number): number {
    this.rest = text.slice(at, at + LONGEST_SEQUENCE - 1) + text.slice(Math.max(at + LONGEST_SEQUENCE - 1, text.length - 1));
    return text.length;
  }

  private skipString(text: string, at: number): number {
    STRING_END.lastIndex = at;
    const end = STRING_END.exec(text);
    if (!end) return text.length;
    const { index } = end;
    if (end[0] === "\x1b" && index + 1 === text.length) {
      this.rest = "\x1b"; // ST, or another sequence: the next chunk says
      return text.length;
    }
    this.inString = false;
    if (end[0] === "\x1b") return text[index + 1] === "\\" ? index + 2 : index;
    return end[0] === "\n" ? index : index + 1;
  }
}

/** The style after ESC [ parameters m; what is unknown changes nothing. */
export function sgr(style: Style, parameters: string): Style {
  if (!/^[\d;:]{0,128}$/.test(parameters)) return style;
  const codes = parameters.split(";").map((each) => each.split(":").map(Number));
  let now: Style = style;
  for (let i = 0; i < codes.length; i += 1) {
    const code = codes[i] as number[];
    const n = code[0] as number;
    if (n === 0) now = PLAIN;
    else if (n === 4 && code[1] === 0) now = { ...now, underline: false };
    else if (FLAGS[n]) now = { ...now, ...FLAGS[n] };
    else if ((n >= 30 && n <= 37) || (n >= 90 && n <= 97)) now = { ...now, fg: n < 40 ? n - 30 : n - 82 };
    else if ((n >= 40 && n <= 47) || (n >= 100 && n <= 107)) now = { ...now, bg: n < 50 ? n - 40 : n - 92 };
    else if (n === 39) now = { ...now, fg: undefined };
    else if (n === 49) now = { ...now, bg: undefined };
    else if (n === 38 || n === 48 || n === 58) {
      const [colour, used] = extended(codes, i);
      i += used;
      if (colour !== undefined && n !== 58) now = n === 38 ? { ...now, fg: colour } : { ...now, bg: colour };
    }
  }
  return now;
}

const FLAGS: Record<number, Style> = {
  1: { bold: true }, 2: { dim: true }, 3: { italic: true }, 4: { underline: true }, 7: { inverse: true }, 8: { hidden: true },
  9: { strike: true }, 21: { underline: true }, 22: { bold: false, dim: false }, 23: { italic: false },
  24: { underline: false }, 27: { inverse: false }, 28: { hidden: false }, 29: { strike: false },
};

/** 38;5;N and 38;2;R;G;B, and with colons, where a colour space may stand in between; how many codes that took. */
function extended(codes: number[][], at: number): [Colour, number] {
  const own = (codes[at] as number[]).slice(1);
  const [kind, ...values] = own.length > 0 ? own : codes.slice(at + 1, at + 5).map((each) => each[0] ?? -1);
  const used = own.length > 0 ? 0 : kind === 5 ? 2 : kind === 2 ? 4 : 1;
  const byte = (n: number | undefined): n is number => n !== undefined && n >= 0 && n <= 255;
  if (kind === 5 && byte(values[0])) return [values[0], used];
  const rgb = own.length > 4 ? values.slice(1, 4) : values;
  if (kind === 2 && rgb.length === 3 && rgb.every(byte)) {
    return [`#${rgb.map((n) => n.toString(16).padStart(2, "0")).join("")}`, used];
  }
  return [undefined, used];
}
