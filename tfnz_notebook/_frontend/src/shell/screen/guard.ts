// What a process may make the terminal do. Output is hostile: some of it was written to be shown by `cat`.
import type { IDisposable, IFunctionIdentifier, Terminal } from "@xterm/xterm";

/** Never: they reach out of the terminal, or type what the process chose (a title, a setting) as if a person had. */
const OFF_OSC = [
  0, 1, 2, // titles
  7, // working directory
  8, // links: their text stays, as text
  9, 777, // notifications
  52, // the clipboard
  1337, // iTerm2's files and pictures
];
const OFF_CSI: IFunctionIdentifier[] = [{ final: "t" }]; // the window: its size, place, title
const OFF_DCS: IFunctionIdentifier[] = [
  { intermediates: "$", final: "q" }, // DECRQSS
  { intermediates: "+", final: "q" }, // XTGETTCAP
];

/** Questions, which one view of those there are answers, and none when they are replayed from the log. */
const QUESTIONS: IFunctionIdentifier[] = [
  { final: "c" }, // DA1
  { prefix: ">", final: "c" }, // DA2
  { prefix: "=", final: "c" }, // DA3
  { final: "n" }, // DSR
  { prefix: "?", final: "n" },
  { intermediates: "$", final: "p" }, // DECRQM
  { prefix: "?", intermediates: "$", final: "p" },
  { prefix: ">", final: "q" }, // XTVERSION
  { prefix: "?", final: "u" }, // the kitty keyboard's flags
];
const COLOURS = [4, 10, 11, 12]; // set with a value, asked for with "?"

/** Put these rules into a terminal. `answers` is asked at each question. */
export function guard(terminal: Terminal, answers: () => boolean): IDisposable[] {
  const { parser } = terminal;
  const swallow = (): boolean => true;
  const unlessAnswering = (): boolean => !answers();
  // xterm.js 6 stumbles over an erasure of all before the last cell of its last line: it looks at the line below.
  const stumbles = (params: (number | number[])[]): boolean => {
    const { cursorX, cursorY, length } = terminal.buffer.active;
    return params[0] === 1 && cursorX + 1 >= terminal.cols && cursorY + 1 >= length;
  };
  return [
    parser.registerCsiHandler({ final: "J" }, stumbles),
    parser.registerCsiHandler({ prefix: "?", final: "J" }, stumbles),
    ...OFF_OSC.map((number) => parser.registerOscHandler(number, swallow)),
    ...OFF_CSI.map((id) => parser.registerCsiHandler(id, swallow)),
    ...OFF_DCS.map((id) => parser.registerDcsHandler(id, swallow)),
    ...QUESTIONS.map((id) => parser.registerCsiHandler(id, unlessAnswering)),
    ...COLOURS.map((number) =>
      parser.registerOscHandler(number, (data) => data.includes("?") && !answers()),
    ),
  ];
}

/** `ESC [ I` and `ESC [ O`: what the terminal says of its focus to a process that wants to know. */
export const FOCUS_IN = "\x1b[I";
export const FOCUS_OUT = "\x1b[O";
