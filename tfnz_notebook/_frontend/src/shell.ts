// The terminal in the cell: xterm.js on a process that has a pty.
//
// Flow control: bytes are credited from xterm.js's write callback, so the process waits for the browser; keys go out at
// once whatever waits to be shown. Bytes that were written before this view was opened are a replay: the terminal takes
// them in without answering the questions in them (guard.ts), and from a line's beginning (replay.ts).
import xtermCss from "@xterm/xterm/css/xterm.css";
import { written } from "./through.js";
import { type Channel, type HubModel, type StreamStart, type Ticket, connect, newView } from "./hub.js";
import { fingers } from "./shell/input/fingers.js";
import { keepFocus } from "./shell/input/focus.js";
import { links } from "./shell/links.js";
import { Search } from "./shell/search.js";
import { shown } from "./shell/screen/still.js";
import { grip } from "./shell/input/grip.js";
import { FOCUS_IN, FOCUS_OUT } from "./shell/screen/guard.js";
import { LEAVE, keys, leave } from "./shell/input/keys.js";
import { Pace } from "./shell/pace.js";
import { reading } from "./shell/reading.js";
import { watch } from "./shell/screen/palette.js";
import { Peers } from "./shell/size/peers.js";
import { Beginning } from "./shell/replay.js";
import { Screen, type Size } from "./shell/screen/screen.js";
import shellCss from "./shell/shell.css";
import { Sizing } from "./shell/size/sizing.js";
import { Status, button, element } from "./look/status.js";
import { type Seen, type Still, told } from "./still.js";
import { replaceTwin, themed, useStyle } from "./look/theme.js";
import { size } from "./text/numbers.js";
import type { ProcessInfo } from "./text/words.js";

/** Of the log, so much is replayed. */
const KEEP = 256 * 1024;
const ROWS = 24;
/** Above and below the characters, in pixels; as in shell.css. */
const PADDING = 8;
const RESIZE_PAUSE = 100;
const STREAM = 1;
/** Of what scrolled off, and of the screen, so many rows stay at most (HISTORY in widgets/saved/terminal.py). */
const HISTORY = 1000;
const TALL = 60;

interface Options {
  key?: string;
  rows?: number;
  title?: string;
}

interface Model {
  get(name: string): any;
  on(event: string, callback: () => void): void;
  off(event: string, callback: () => void): void;
}

class Shell {
  readonly #root: HTMLElement;
  readonly #box: HTMLElement;
  readonly #status: Status;
  readonly #hint = element("span", "tfnz-shell-hint");
  readonly #end: HTMLButtonElement;
  readonly #peers: Peers;
  readonly #sizing: Sizing;
  readonly #options: Options;
  readonly #shown: () => void;
  #screen: Screen | undefined;
  #channel: Channel | undefined;
  #rows: number;
  #info: ProcessInfo | undefined;
  readonly #pace = new Pace();
  #used = 1; // rows that are seen; never fewer again
  #begun = 0; // where the log began that is shown
  #arrived = 0;
  #parsed = 0; // bytes that the terminal has taken in: an absolute offset
  #replayEnd = 0;
  #replaying = true;
  #beginning: Beginning | undefined;
  #focusTold = false;
  #over = false;

  constructor(
    private readonly model: Model,
    private readonly hub: HubModel,
    el: HTMLElement,
    private readonly signal: AbortSignal,
    private readonly seen: Props["seen"],
  ) {
    this.#options = (model.get("options") ?? {}) as Options;
    this.#rows = this.#options.rows ?? ROWS;
    this.#root = element("div", "tfnz-shell");
    this.#box = element("div", "tfnz-shell-screen");
    this.#box.style.height = `${15 + PADDING}px`; // until a character has been measured
    this.#status = new Status(this.#options.title);
    const what = "End the process and all that it started (TERM, then KILL)";
    this.#end = button("stop", what, () => this.#channel?.send("destroy"));
    this.#status.actions.append(this.#hint, this.#end);
    const edge = grip(
      this.#box,
      (pixels) => this.#wish(pixels),
      (step) => this.#wishRows(this.#rows + step),
      signal,
    );
    themed(this.#root, signal);
    useStyle("shell", xtermCss + shellCss);
    this.#shown = replaceTwin(this.#root, this.#options.key, signal);
    this.#root.append(this.#box, edge, this.#status.el);
    el.replaceChildren(this.#root);
    this.#sizing = new Sizing(
      () => this.#peers.leads,
      (size) => this.#channel?.send("resize", { ...size }),
      (size) => this.#screen?.resize(size),
    );
    this.#peers = new Peers(
      model.get("subject"),
      newView(),
      signal,
      () => this.#leadershipChanged(),
      () => this.#sizing.insist(),
    );
    this.#peers.join();
    let pause: ReturnType<typeof setTimeout> | undefined;
    const observer = new ResizeObserver(() => {
      if (this.#box.clientWidth === 0) return; // not laid out: in no page, or scrolled away
      if (this.#screen === undefined) {
        this.#begin();
        return;
      }
      clearTimeout(pause);
      pause = setTimeout(() => this.#fit(), RESIZE_PAUSE);
    });
    observer.observe(this.#box);
    signal.addEventListener("abort", () => {
      clearTimeout(pause);
      observer.disconnect();
      this.#status.dispose();
      this.#sizing.close();
      this.#channel?.close();
      this.#screen?.terminal.dispose();
    });
  }

  // --- the beginning -------------------------------------------------------------------------------------------------

  /** The page has given it room: the terminal is made and measured, so that the process begins with its true size. */
  #begin(): void {
    const name = this.#options.title ?? "Terminal";
    const answers = (): boolean => !this.#replaying && this.#peers.leads;
    const screen = new Screen(this.#box, this.#rows, name, answers);
    this.#screen = screen;
    const { terminal } = screen;
    const search = new Search(terminal);
    this.#root.insertBefore(search.el, this.#status.el);
    this.#root.prepend(reading(terminal, this.signal));
    keys(this.#root, terminal, { leave: () => leave(this.#root), find: () => search.open() }, this.signal);
    const lead = (address: string): string => written(address, this.model.get("direct") as Ticket | null);
    const tell = (address: string): void => {
      const away = address && lead(address) !== address;
      this.#box.title = away ? `${address} of the container, through the Jupyter server` : address;
    };
    links(terminal, tell, lead);
    fingers(this.#box, terminal, this.signal);
    this.seen?.({ current: () => this.#current, take: () => this.#still() });
    terminal.onData((data) => this.#typed(data));
    terminal.onBinary((data) => this.#input(Uint8Array.from(data, (each) => each.charCodeAt(0))));
    this.#box.addEventListener("focusin", () => this.#focused(true), { signal: this.signal });
    this.#box.addEventListener("focusout", () => this.#focused(false), { signal: this.signal });
    keepFocus(this.#box, () => terminal.focus(), this.signal);
    watch(() => screen.restyle() && this.#fit(), this.signal);
    this.#fit();
    const offered = (): void => this.#offered();
    this.model.on("change:direct", offered);
    this.signal.addEventListener("abort", () => this.model.off("change:direct", offered));
    // After what other views have answered to this one by now.
    setTimeout(() => this.signal.aborted || this.#connect(), 0);
  }

  #connect(): void {
    this.#channel = connect({
      hub: this.hub,
      subject: this.model.get("subject"),
      direct: this.model.get("direct") as Ticket | null,
      openBody: () => ({ mode: "all", window: this.#pace.window, keep: KEEP, ...this.#opening() }),
      handlers: {
        opened: (info, streams, again) => this.#opened(info, streams, again),
        data: (stream, offset, bytes, left) => stream === STREAM && this.#data(offset, bytes, left),
        eof: () => this.#check(),
        state: (info) => this.#heard(info),
        error: (text) => this.#status.say(text),
        closed: (_reason, text) => this.#closed(text),
        carrier: (kind) => {
          this.#status.carried(kind);
          if (kind === "none") this.#shown();
          else this.#pace.path = kind;
        },
      },
    });
  }

  /** The ticket comes once there is a process, after the view. */
  #offered(): void {
    const ticket = this.model.get("direct") as Ticket | null;
    if (ticket !== null) this.#channel?.offer(ticket);
  }

  #opening(): Partial<Size> {
    const size = this.#screen?.size;
    if (size === undefined || !this.#sizing.owns) return {};
    this.#sizing.announce(size);
    return size;
  }

  // --- size ----------------------------------------------------------------------------------------------------------

  #fit(): void {
    const columns = this.#screen?.columns();
    if (columns === undefined || this.#over) return;
    if (this.#channel === undefined) this.#screen?.resize({ rows: this.#rows, columns });
    else this.#sizing.fits({ rows: this.#rows, columns });
    this.#grow();
  }

  /** As high as what was written takes, up to its rows; and then it stays so. */
  #grow(): void {
    const screen = this.#screen;
    if (screen === undefined) return;
    this.#used = Math.min(Math.max(this.#used, screen.used(this.#used)), screen.size.rows);
    screen.grow(this.#used, PADDING);
  }

  #wish(pixels: number): void {
    if (this.#screen !== undefined) this.#wishRows(this.#screen.rows(pixels - PADDING));
  }

  #wishRows(rows: number): void {
    if (rows < 2 || rows > 200) return;
    this.#rows = this.#used = rows;
    if (this.#over) {
      this.#screen?.resize({ rows, columns: this.#screen.size.columns });
      this.#grow();
      return;
    }
    this.#turnedTo();
    this.#fit();
  }

  #leadershipChanged(): void {
    this.#sizing.changed();
    this.#fit();
  }

  // --- from the process ----------------------------------------------------------------------------------------------

  #opened(info: ProcessInfo, streams: StreamStart[], again: boolean): void {
    const stream = streams.find((each) => each.stream === STREAM);
    if (!again) {
      this.#parsed = this.#arrived = this.#begun = stream?.from ?? 0;
      this.#replayEnd = stream?.head ?? 0;
      this.#beginning = this.#parsed > 0 ? new Beginning() : undefined;
      if (this.#replayEnd <= this.#parsed) this.#replayed();
    }
    this.#status.count(stream?.head ?? 0);
    this.#heard(info);
  }

  #data(offset: number, bytes: Uint8Array, left: number): void {
    const terminal = this.#screen!.terminal;
    if (left > 0) {
      // The log no longer has them; what state the terminal was left in, nobody knows.
      terminal.write(`\x1bc\x1b[2m${size(left)} are missing here: the log no longer has them.\x1b[m\r\n`);
      this.#beginning = new Beginning();
    }
    if (this.#replaying && offset < this.#replayEnd && offset + bytes.length > this.#replayEnd) {
      const old = this.#replayEnd - offset;
      this.#data(offset, bytes.subarray(0, old), 0);
      this.#data(this.#replayEnd, bytes.subarray(old), 0);
      return;
    }
    const end = (this.#arrived = offset + bytes.length);
    const last = this.#replaying && end === this.#replayEnd;
    let shown = this.#beginning === undefined ? bytes : this.#beginning.take(bytes);
    if (last) shown ??= this.#beginning?.rest();
    if (shown !== undefined || last) this.#beginning = undefined;
    terminal.write(shown ?? "", () => {
      this.#parsed = end;
      this.#grow();
      this.#status.count(this.#parsed);
      this.#pace.took(bytes.length);
      this.#channel?.credit(STREAM, end, this.#pace.window);
      if (last) this.#replayed();
      this.#check();
    });
  }

  /** The terminal has caught up with what was written before it was opened. */
  #replayed(): void {
    this.#replaying = false;
    this.#shown();
    const screen = this.#screen!;
    const truncated = this.#replayEnd > KEEP;
    // A replay that began in the middle has not all of a full-screen program's picture.
    const fullScreen = screen.terminal.buffer.active.type === "alternate";
    if ((fullScreen || truncated) && this.#info?.state === "running") this.#sizing.nudge(screen.size, this.signal);
    if (screen.terminal.modes.sendFocusMode && screen.focused) this.#typed(FOCUS_IN);
  }

  #heard(info: ProcessInfo): void {
    this.#info = info;
    this.#status.update(info);
    this.#end.disabled = info.state !== "running";
    if (info.rows && info.columns) this.#sizing.heard({ rows: info.rows, columns: info.columns });
    this.#check();
  }

  /** Its end is shown once all that it wrote is. */
  #check(): void {
    const info = this.#info;
    if (this.#over || (info?.state !== "ended" && info?.state !== "gone")) return;
    if (info.state === "ended" && this.#parsed < info.out) return;
    this.#finish();
  }

  // --- what a save has of it -------------------------------------------------------------------------------------------

  get #current(): boolean {
    return this.#info !== undefined && !this.#replaying && this.#parsed === this.#arrived && !this.#beginning;
  }

  #still(): Still {
    const { terminal } = this.#screen!;
    const rows = shown(terminal, HISTORY).map((spans) => ({ spans }));
    const tall = Math.min(this.#options.rows ?? terminal.rows, TALL);
    return { ...told(this.#info!, this.#parsed), rows, above: this.#begun, tall, used: this.#used };
  }

  /** No more input. */
  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#end.disabled = true;
    this.#hint.textContent = "";
    const { terminal } = this.#screen!;
    terminal.options.disableStdin = true;
    terminal.write("\x1b[?25l");
  }

  #closed(text: string): void {
    this.#status.closed(text);
    this.#shown();
    this.#finish();
  }

  // --- to the process ------------------------------------------------------------------------------------------------

  #typed(data: string): void {
    // A process may ask to be told of the focus, also in what is replayed, and in views that do not have it.
    if (data === FOCUS_IN || data === FOCUS_OUT) {
      const has = data === FOCUS_IN;
      if (this.#replaying || has === this.#focusTold) return;
      this.#focusTold = has;
    }
    this.#input(encoder.encode(data));
  }

  #input(bytes: Uint8Array): void {
    if (this.#over) return;
    if (this.#screen?.focused) this.#turnedTo();
    this.#channel?.stdin(bytes);
  }

  #turnedTo(): void {
    this.#peers.take();
    if (this.#sizing.take()) this.#fit();
  }

  #focused(has: boolean): void {
    this.#hint.textContent = has && !this.#over ? `${LEAVE} leaves the terminal` : "";
    if (has) this.#turnedTo();
    this.#grow(); // the cursor is seen
  }
}

const encoder = new TextEncoder();

interface Props {
  model: Model;
  hub: HubModel;
  el: HTMLElement;
  signal?: AbortSignal;
  /** Has the view asked for what it shows, when the page is saved. */
  seen?(view: Seen): void;
}

/** Draws the view; what it returns ends it, for hosts that give no signal. */
export function render({ model, hub, el, signal, seen }: Props): () => void {
  const end = new AbortController();
  signal?.addEventListener("abort", () => end.abort(), { once: true });
  new Shell(model, hub, el, end.signal, seen);
  return () => end.abort();
}
