// The widths of characters for xterm.js, whose default is Unicode 6, in which emoji are narrow.
import type { IUnicodeVersionProvider } from "@xterm/xterm";
import { columns } from "../../text/widths.js";

/** For `terminal.unicode.register`. */
export class Unicode11 implements IUnicodeVersionProvider {
  readonly version = "11";

  wcwidth(codepoint: number): 0 | 1 | 2 {
    return columns(codepoint);
  }

  /** As xterm.js packs them: whether it joins the character before it in bit 0, the width in bits 1 and 2. */
  charProperties(codepoint: number, preceding: number): number {
    if (codepoint >= 0x20 && codepoint < 0x7f) return 2; // most of what there is: one column, joins nothing
    let width: number = this.wcwidth(codepoint);
    const before = (preceding >> 1) & 3;
    const joins = width === 0 && preceding !== 0 && before !== 0;
    if (joins) width = before;
    return (width << 1) | (joins ? 1 : 0);
  }
}
