// The output view: a process's stdout and stderr as text that grows, its state, and what can be done with it.
//
// Bytes wait in a queue until the page draws its next frame; one frame parses them, touches the page once and only then
// gives credit for more. A view whose reader has scrolled up and filled the scrollback gives none: then the desk skips
// ahead (mode `tail`) and nobody is held back. A view that is out of sight rests, and costs nobody anything.
import { type Channel, type HubModel, type Ticket, connect } from "./hub.js";
import sheet from "./output/output.css";
import palette from "./look/palette.css";
import { type Painter, ask, forget } from "./output/paint.js";
import { LINES, type Seen, type Still, told } from "./still.js";
import { Follow } from "./output/scroll.js";
import { StdinLine } from "./output/stdin.js";
import { Transcript } from "./output/transcript.js";
import { Weave } from "./output/weave.js";
import { Status, button, element } from "./look/status.js";
import { replaceTwin, themed, useStyle } from "./look/theme.js";
import { size } from "./text/numbers.js";
import type { ProcessInfo } from "./text/words.js";

const WINDOW = 128 * 1024;
const KEEP = 256 * 1024;
const PIECE = 16 * 1024;
/** Where so many bytes are left out between two drawings, nobody can tell how often it is drawn: the machine is better
 * used by who writes them. */
const FLOOD = 4 * WINDOW;
const FLOOD_MS = 200;
const UNSEEN_MS = 3000;
const ROWS = 20;

interface Model {
  get(name: "subject"): string;
  get(name: "options"): { key?: string; stdin?: boolean; title?: string; rows?: number } | null;
  get(name: "direct"): Ticket | null;
}

interface Props {
  model: Model;
  el: HTMLElement;
  hub: HubModel;
  signal?: AbortSignal;
  /** Has the view asked for what it shows, when the page is saved. */
  seen?(view: Seen): void;
}

class Output implements Painter {
  private readonly status: Status;
  private readonly body = element("div", "tfnz-body");
  private readonly aboveBar = element("div", "tfnz-above");
  private kept = "all of it";
  private readonly box = element("div", "tfnz-scroll");
  private readonly lines = element("div", "tfnz-lines");
  private readonly transcript = new Transcript(this.lines);
  private readonly follow: Follow;
  private readonly channel: Channel;
  private readonly controls: HTMLButtonElement[];
  private readonly input: StdinLine;
  private readonly inputButton: HTMLButtonElement;

  private readonly queue = new Weave();
  private ends: number[] = [];
  private received = new Map<number, number>();
  private readonly done = new Map<number, number>(); // drawn, and not yet credited
  private flooded = false;
  private waiting = false; // there may be more to draw
  private pause: ReturnType<typeof setTimeout> | undefined;
  private seen = true;
  private unseen: ReturnType<typeof setTimeout> | undefined;

  private info: ProcessInfo | undefined;
  private readonly replace: () => void;
  private readonly missing = new Map<number, number>(); // up to where was written before, and is not drawn yet
  private readonly tall: number;

  constructor({ model, el, hub, seen }: Props, signal: AbortSignal) {
    const options = model.get("options") ?? {};
    const root = element("div", "tfnz-output");
    this.tall = Math.min(Math.max(options.rows ?? ROWS, 1), 60);
    themed(root, signal);
    useStyle("output", palette + sheet);
    if (options.rows) root.style.setProperty("--tfnz-rows", String(Math.max(1, Math.floor(options.rows))));
    this.status = new Status(options.title);
    this.follow = new Follow(this.box, () => this.schedule());
    this.input = new StdinLine(
      (bytes) => this.channel.stdin(bytes),
      () => this.channel.end(),
    );
    this.inputButton = button("input", "Show a line for stdin", () => {
      this.input.el.hidden = !this.input.el.hidden;
      this.inputButton.setAttribute("aria-pressed", String(!this.input.el.hidden));
      if (!this.input.el.hidden) this.input.focus();
    });
    this.input.el.hidden = !options.stdin;
    this.inputButton.setAttribute("aria-pressed", String(Boolean(options.stdin)));
    this.controls = [
      this.inputButton,
      button("stop", "Stop: TERM to the process and all it started", () => this.signalTree("TERM")),
      button("kill", "Kill: KILL to the process and all it started", () => this.signalTree("KILL")),
    ];
    this.status.actions.append(...this.controls);
    this.build(root, el);
    this.replace = replaceTwin(root, options.key, signal);

    this.channel = connect({
      hub,
      subject: model.get("subject"),
      direct: model.get("direct"),
      openBody: () => ({ mode: "tail", window: WINDOW, keep: KEEP }),
      handlers: {
        opened: (info: ProcessInfo, streams, again, order) => {
          this.queue.begin(streams, order);
          if (!again) for (const { stream, from } of streams) this.transcript.begin(stream, from);
          for (const { stream, from } of streams) if (!this.received.has(stream)) this.received.set(stream, from);
          this.status.count(streams.reduce((sum, { head }) => sum + head, 0));
          this.update(info);
          if (!again) for (const { stream, head } of streams) if (head > 0) this.missing.set(stream, head);
          this.shown();
          this.schedule();
        },
        data: (stream, offset, bytes, left) => {
          const upto = offset + bytes.length;
          this.received.set(stream, upto);
          // A view into a larger message, which is not to be kept for it.
          for (let at = 0; at < bytes.length; at += PIECE) {
            const piece = bytes.subarray(at, at + PIECE);
            this.queue.put({ stream, bytes: piece, left: at === 0 ? left : 0, upto: offset + at + piece.length });
          }
          this.schedule();
        },
        eof: (stream, offset, left) => {
          if (left > 0) this.queue.put({ stream, bytes: new Uint8Array(), left, upto: offset });
          this.queue.end(stream);
          this.ends.push(stream);
          this.schedule();
        },
        state: (info: ProcessInfo) => this.update(info),
        error: (text) => this.status.say(text),
        closed: (_reason, text) => {
          this.status.closed(text);
          this.queue.end();
          this.over();
          this.replace();
          this.schedule();
        },
        carrier: (kind) => {
          this.status.carried(kind);
          for (const control of this.controls) control.disabled = kind === "none";
          if (kind === "none") this.replace();
        },
      },
    });
    seen?.({ current: () => this.current, take: () => this.still() });
    const sight = new IntersectionObserver((entries) => this.sighted(entries.some((each) => each.isIntersecting)), {
      rootMargin: "200px 0px",
    });
    sight.observe(root);
    // Other widths wrap other lines.
    const shape = new ResizeObserver(() => this.follow.stick());
    shape.observe(this.box);
    signal.addEventListener("abort", () => {
      shape.disconnect();
      sight.disconnect();
      clearTimeout(this.unseen);
      clearTimeout(this.pause);
      forget(this);
      this.channel.close();
      this.status.dispose();
      root.remove();
    }, { once: true });
  }

  private build(root: HTMLElement, el: HTMLElement): void {
    this.aboveBar.hidden = this.body.hidden = true;
    this.box.setAttribute("role", "log");
    this.box.setAttribute("aria-live", "off"); // it would be read out for ever
    this.box.setAttribute("aria-label", "Output");
    this.box.tabIndex = 0;
    // Whoever came here by keyboard scrolls by keyboard; after a click the notebook's shortcuts work as ever.
    this.box.addEventListener("focus", () => {
      if (this.box.matches(":focus-visible")) this.box.setAttribute("data-lm-suppress-shortcuts", "true");
    });
    this.box.addEventListener("blur", () => this.box.removeAttribute("data-lm-suppress-shortcuts"));
    this.box.append(this.lines);
    this.body.append(this.aboveBar, this.box, this.follow.chip);
    root.append(this.body, this.input.el, this.status.el);
    el.append(root);
  }

  // --- state -------------------------------------------------------------------------------------------------------

  private update(info: ProcessInfo): void {
    this.info = info;
    if (info.retain === "tail") this.kept = "the newest of it";
    this.status.update(info);
    if (this.status.over) this.over();
  }

  private over(): void {
    for (const control of this.controls) control.hidden = true;
    this.input.el.hidden = true;
  }

  private signalTree(signal: string): void {
    this.channel.send("signal", { signal, tree: true });
  }

  // --- what a save has of it ---------------------------------------------------------------------------------------

  private get current(): boolean {
    return this.seen && this.queue.empty && this.ends.length === 0 && this.info !== undefined;
  }

  private still(): Still {
    const info = this.info as ProcessInfo;
    let total = 0;
    for (const upto of this.received.values()) total += upto;
    return { ...told(info, total), ...this.transcript.shown(LINES), tall: this.tall };
  }

  // --- drawing -----------------------------------------------------------------------------------------------------

  private sighted(seen: boolean): void {
    clearTimeout(this.unseen);
    if (seen) {
      if (!this.seen) this.channel.reopen();
      this.seen = true;
      this.follow.restore();
      this.schedule();
    } else {
      this.unseen = setTimeout(() => {
        this.seen = false;
        this.channel.rest();
      }, UNSEEN_MS);
    }
  }

  /** It shows what was there before it. */
  private shown(): void {
    if (this.missing.size === 0) this.replace();
  }

  /** Nothing more is taken in: nobody would see it, or it would push out what is being read. */
  private get held(): boolean {
    return !this.seen || (!this.follow.following && this.transcript.full);
  }

  private schedule(): void {
    if (!this.held) ask(this);
  }

  write(budget: number): void {
    const began = performance.now();
    this.flooded = false;
    let more = true;
    while (more && !this.held && performance.now() - began < budget) {
      const piece = this.queue.take();
      more = piece !== undefined;
      if (!piece) break;
      const { stream, bytes, left, upto } = piece;
      this.transcript.write(stream, bytes, left);
      this.flooded ||= left > FLOOD;
      this.done.set(stream, upto);
      if (upto >= (this.missing.get(stream) ?? 0)) this.missing.delete(stream);
    }
    this.waiting = more;
    if (this.queue.empty) for (const stream of this.ends.splice(0)) this.transcript.end(stream);
    this.transcript.flush(this.follow.following);
    const { above } = this.transcript;
    if (above > 0) {
      const text = `${size(above)} above: process.log() has ${this.kept}`;
      if (this.aboveBar.textContent !== text) this.aboveBar.textContent = text;
      this.aboveBar.hidden = false;
    }
    if (!this.transcript.empty) this.body.hidden = false;
    this.shown();
    let total = 0;
    for (const upto of this.received.values()) total += upto;
    this.status.count(total);
  }

  settle(): void {
    this.follow.stick();
    if (this.flooded) this.pause ??= setTimeout(() => this.credit(), FLOOD_MS);
    else if (this.pause === undefined) this.credit();
    if (this.waiting || (this.queue.empty && this.ends.length > 0)) this.schedule();
  }

  private credit(): void {
    this.pause = undefined;
    for (const [stream, upto] of this.done) this.channel.credit(stream, upto);
    this.done.clear();
  }
}

export function render(props: Props): () => void {
  const life = new AbortController();
  props.signal?.addEventListener("abort", () => life.abort(), { once: true });
  new Output(props, life.signal);
  return () => life.abort();
}
