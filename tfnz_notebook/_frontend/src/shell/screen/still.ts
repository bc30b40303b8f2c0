// What a terminal shows, as runs of styled text: widgets/saved/screen.py has the same of a terminal without a page, and
// tests/vectors/screens.json holds both to the same rows.
import type { IBufferCell, Terminal } from "@xterm/xterm";
import { PLAIN, type Style, visible } from "../../output/ansi.js";
import { type Run, alike } from "../../output/pen.js";

/** Rows, from some of what scrolled off to the last that has anything in it. */
export function shown(terminal: Terminal, history = Infinity): Run[][] {
  const { active } = terminal.buffer;
  const rows: Run[][] = [];
  let cell: IBufferCell | undefined;
  for (let y = Math.max(0, active.baseY - history); y < active.baseY + terminal.rows; y += 1) {
    const line = active.getLine(y);
    const runs: Run[] = [];
    for (let x = 0; x < terminal.cols; x += 1) {
      cell = line?.getCell(x, cell);
      if (!cell || (cell.getWidth() === 0 && !cell.getChars())) continue;
      const style = look(cell);
      const last = runs[runs.length - 1];
      const text = cell.getChars() || " ";
      if (last && alike(last.style, style)) last.text += text;
      else runs.push({ text, style });
    }
    rows.push(trimmed(runs).map(({ text, style }) => ({ text: visible(text), style })));
  }
  while (rows.length > 0 && rows[rows.length - 1]!.length === 0) rows.pop();
  return rows;
}

/** Without the blanks at its end that nobody sees. */
function trimmed(runs: Run[]): Run[] {
  for (;;) {
    const last = runs[runs.length - 1];
    if (!last || last.style.bg !== undefined || last.style.inverse || last.style.underline || last.style.strike) return runs;
    last.text = last.text.replace(/ +$/, "");
    if (last.text) return runs;
    runs.pop();
  }
}

function look(cell: IBufferCell): Style {
  if (cell.isAttributeDefault()) return PLAIN;
  const inverse = Boolean(cell.isInverse());
  const bold = Boolean(cell.isBold());
  // xterm.js shows the eight colours bright where they are bold: those of the text, as it is seen.
  const bright = (colour: Style["fg"]): Style["fg"] => (bold && typeof colour === "number" && colour < 8 ? colour + 8 : colour);
  let fg = cell.isFgDefault() ? undefined : cell.isFgRGB() ? hex(cell.getFgColor()) : cell.getFgColor();
  let bg = cell.isBgDefault() ? undefined : cell.isBgRGB() ? hex(cell.getBgColor()) : cell.getBgColor();
  if (inverse) bg = bright(bg);
  else fg = bright(fg);
  const style: { -readonly [name in keyof Style]: Style[name] } = {};
  if (fg !== undefined) style.fg = fg;
  if (bg !== undefined) style.bg = bg;
  if (bold) style.bold = true;
  if (cell.isDim()) style.dim = true;
  if (cell.isItalic()) style.italic = true;
  if (cell.isUnderline()) style.underline = true;
  if (cell.isStrikethrough()) style.strike = true;
  if (inverse) style.inverse = true;
  if (cell.isInvisible()) style.hidden = true;
  return style;
}

const hex = (colour: number): string => `#${colour.toString(16).padStart(6, "0")}`;
