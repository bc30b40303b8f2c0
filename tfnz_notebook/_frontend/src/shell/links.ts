// Addresses in what a process wrote: links that only a click opens, and that say before it where they go.
import type { IBufferCell, ILink, Terminal } from "@xterm/xterm";

const ADDRESS = /https?:\/\/[^\s"'<>\\^`{|}\u0000-\u001f]+/g;
/** What follows an address in a sentence. */
const AFTER = /[.,:;!?)\]]+$/;

export interface Found {
  text: string;
  /** Its first and last character, in the text that was searched. */
  start: number;
  end: number;
}

export function addresses(text: string): Found[] {
  return [...text.matchAll(ADDRESS)].flatMap((match) => {
    const found = match[0].replace(AFTER, "");
    const host = /^https?:\/\/[^/?#]/.test(found);
    return host ? [{ text: found, start: match.index, end: match.index + found.length - 1 }] : [];
  });
}

/** Have a terminal offer them; `tell` says where one goes, or nothing any more, and `lead` where it leads from here. */
export function links(terminal: Terminal, tell: (address: string) => void, lead: (address: string) => string): void {
  terminal.registerLinkProvider({
    provideLinks(row, callback) {
      callback(linksOf(terminal, row - 1, tell, lead));
    },
  });
}

/** Those of the line that a row is part of, however many rows it takes. */
function linksOf(terminal: Terminal, row: number, ...[tell, lead]: [(address: string) => void, (address: string) => string]): ILink[] {
  const { active } = terminal.buffer;
  let first = row;
  while (first > 0 && active.getLine(first)?.isWrapped) first -= 1;
  let text = "";
  const places: { x: number; y: number }[] = [];
  let cell: IBufferCell | undefined;
  for (let y = first; y === first || active.getLine(y)?.isWrapped; y += 1) {
    const line = active.getLine(y);
    for (let x = 0; x < terminal.cols; x += 1) {
      cell = line?.getCell(x, cell);
      if (!cell || cell.getWidth() === 0) continue;
      const characters = cell.getChars() || " ";
      text += characters;
      for (let n = 0; n < characters.length; n += 1) places.push({ x: x + 1, y: y + 1 });
    }
  }
  return addresses(text).map(({ text: address, start, end }) => ({
    text: address,
    range: { start: places[start]!, end: places[end]! },
    activate: (event) => {
      if (event.button === 0) window.open(lead(address), "_blank", "noopener,noreferrer");
    },
    hover: () => tell(address),
    leave: () => tell(""),
  }));
}
