// One view's channel, over two carriers.
//
// Theory of operation. Bytes have absolute offsets, so a channel needs to know only how far it has come on each stream:
// whatever arrives below that is overlap and dropped, whatever arrives beyond it is a gap. A *lane* is one attempt at one
// carrier. One lane is current; another may be on trial (its `open` names where we are), takes its place with its `opened`,
// and the one before is closed. Stdin has names, so that the agent writes it once however often it comes: what a lane has
// not acknowledged is said again, in order, on the next. Only when no carrier is left is input given up, and that is told.
import type { CarrierKind, Channel, ConnectOptions, Said } from "../hub.js";
import { size } from "../text/numbers.js";
import type { FromView } from "../protocol.js";
import { type Ends, type Line, type Ticket, onWake, openComm, openDirect, viewsUrl } from "./carriers.js";
import { type Head, newId } from "./frames.js";
import { Input } from "./input.js";
import { Positions } from "./positions.js";
import { Fault } from "./window.js";

const DIRECT_AGAIN_MS = 30_000;
const OPENED_MS = 4_000; // a websocket that opened, but says nothing
const LAST_MS = 3_000; // after an end, for the bytes before it
const WAITING_MESSAGES = 64;
const TRIES_ON_A_GAP = 4;

/** Shared by all views of the page: when a websocket last could not be opened. */
const memory = ((globalThis as any)[Symbol.for("tfnz.direct")] ??= { failed: -Infinity }) as { failed: number };

/** One attempt at one carrier. */
interface Lane {
  line: Line;
  /** `open` was sent, `opened` has not come: what arrives may belong to an earlier open. */
  awaiting: boolean;
  trial: ReturnType<typeof setTimeout> | undefined;
}

const NOBODY = "neither the kernel nor the Jupyter server answers";

export class Connection implements Channel {
  readonly view = newId();
  #current: Lane | null = null;
  #next: Lane | null = null;
  #told: CarrierKind | null = null;

  readonly #positions = new Positions();
  #gaps = 0; // opens because of one, since the last byte that fitted
  #begun = false;
  #mode = "";
  #window = 0;

  readonly #input = new Input();
  #waiting: [t: Said, fields: object | undefined][] = [];

  #refused = false; // this ticket, by the server
  #forgotten = false; // by the kernel
  #lapsed = false; // closed as slow: opens again with the next credit
  #resting = false; // closed by its view: opens again when that asks
  #failures = 0;
  #relinks = 0;
  #over = false;
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  readonly #unwake: () => void;
  /** A page that goes away says so, as far as it still can: nobody sends to it, or waits for it, any more. */
  readonly #leaving = (event: { persisted?: boolean }): void => {
    if (!event.persisted) this.close();
  };

  constructor(private readonly o: ConnectOptions) {
    this.#unwake = onWake(o.hub, () => {
      if (!this.#current && !this.#over) this.#tryComm();
    });
    globalThis.addEventListener?.("pagehide", this.#leaving);
    const early = Date.now() - memory.failed < DIRECT_AGAIN_MS;
    if (early || !this.#tryDirect()) {
      // Not at once: the caller does not have its channel yet.
      queueMicrotask(() => {
        if (this.#over || this.#current || this.#next) return;
        if (!this.#tryComm() && !this.#tryDirect()) this.#none();
      });
    }
  }

  offer(ticket: Ticket): void {
    this.o.direct = ticket;
    this.#refused = false;
    if (this.carrier !== "direct" && Date.now() - memory.failed >= DIRECT_AGAIN_MS) this.#tryDirect();
  }

  get carrier(): CarrierKind {
    return this.#current?.line.kind ?? "none";
  }

  // --- carriers ----------------------------------------------------------------------------------------------------

  get #directPossible(): boolean {
    return Boolean(this.o.direct) && !this.#refused && viewsUrl() !== null;
  }

  /** Puts a websocket on trial; false where there can be none. */
  #tryDirect(): boolean {
    if (this.#over || this.#resting || this.#next || !this.o.direct || !this.#directPossible) return false;
    const lane = this.#lane((ends) =>
      openDirect(this.o.direct as Ticket, {
        ...ends,
        ready: () => {
          memory.failed = -Infinity;
          this.#open(lane as Lane);
          (lane as Lane).trial = setTimeout(() => ends.dead(false), OPENED_MS);
        },
      }),
    );
    if (!lane) return false;
    this.#next = lane;
    return true;
  }

  #tryComm(): boolean {
    if (this.#over) return false;
    const lane = this.#lane((ends) => openComm(this.o.hub, this.view, ends));
    if (!lane) return false;
    this.#current = lane;
    this.#tell();
    this.#open(lane);
    this.#later(DIRECT_AGAIN_MS, () => this.#upgrade());
    return true;
  }

  #lane(opening: (ends: Ends) => Line | null): Lane | null {
    let dead = false;
    const lane: Lane = {
      line: null as unknown as Line,
      awaiting: true,
      trial: undefined,
    };
    const line = opening({
      ready: () => undefined,
      message: (head, payload) => {
        if (dead || this.#over) return;
        try {
          this.#heard(lane, head, payload);
        } catch (error) {
          if (!(error instanceof Fault)) throw error; // of a desk that says what cannot be: it is as if it were not said
        }
      },
      dead: (refused) => {
        if (dead) return;
        dead = true;
        clearTimeout(lane.trial);
        lane.line?.close();
        if (!this.#over) this.#died(lane, refused);
      },
    });
    if (!line) return null;
    lane.line = line;
    return lane;
  }

  /** From the comm to the direct path, if that has come up meanwhile. */
  #upgrade(): void {
    if (this.#over || this.carrier !== "comm" || this.#next || !this.#directPossible || this.#positions.finished) return;
    this.#tryDirect();
    this.#later(DIRECT_AGAIN_MS, () => this.#upgrade());
  }

  #died(lane: Lane, refused: boolean): void {
    if (lane.line?.kind === "direct") {
      if (refused) this.#refused = true;
      else memory.failed = Date.now();
    }
    if (lane === this.#next) {
      this.#next = null;
      if (!this.#current) this.#fallBack();
    } else if (lane === this.#current) {
      this.#current = null;
      if (!this.#next) this.#fallBack();
    }
  }

  /** No lane is left: the comm, else the direct path, else nothing for a while. */
  #fallBack(): void {
    if (this.#tryComm()) {
      this.#failures = 0;
    } else if (this.#told !== "comm" || this.#failures++ > 0 || !this.#tryDirect()) {
      this.#none();
    }
  }

  #none(): void {
    this.#tell();
    const again = this.#directPossible && !this.#positions.finished;
    if (!again || this.#failures > 0) this.#giveUp();
    if (again) {
      const wait = Math.min(DIRECT_AGAIN_MS, 1000 * 2 ** this.#failures++);
      this.#later(wait, () => {
        if (this.#current || this.#next) return;
        if (!this.#tryComm() && !this.#tryDirect()) this.#none();
      });
    }
  }

  #tell(): void {
    if (this.#told === this.carrier) return;
    this.#told = this.carrier;
    this.o.handlers.carrier?.(this.carrier);
  }

  #promote(lane: Lane): void {
    clearTimeout(lane.trial);
    const old = this.#current;
    this.#next = null;
    this.#current = lane;
    this.#failures = 0;
    if (old) this.#dismiss(old);
    this.#tell();
  }

  #dismiss(lane: Lane): void {
    clearTimeout(lane.trial);
    lane.line.send({ t: "close", view: this.view });
    lane.line.close();
  }

  // --- opening -----------------------------------------------------------------------------------------------------

  #open(lane: Lane): void {
    const body = this.o.openBody();
    this.#mode = String(body["mode"] ?? "");
    this.#window = Number(body["window"] ?? 0);
    lane.awaiting = true;
    if (this.#resting) return;
    lane.line.send({ t: "open", view: this.view, subject: this.o.subject, ...this.#positions.from, ...body });
  }

  rest(): void {
    const lane = this.#current;
    if (this.#over || this.#resting || !lane || lane.awaiting || this.#next) return;
    if (!this.#input.idle) return; // its acknowledgement would not be heard
    this.#resting = lane.awaiting = true;
    this.#say(lane, "close");
  }

  reopen(): void {
    const rested = this.#resting;
    this.#resting = false;
    if (this.#over || !this.#current) {
      if (rested && !this.#over) this.#fallBack(); // its carrier died meanwhile
      return;
    }
    this.#lapsed = false;
    this.#open(this.#current);
  }

  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#unwake();
    globalThis.removeEventListener?.("pagehide", this.#leaving);
    for (const timer of this.#timers) clearTimeout(timer);
    for (const lane of [this.#next, this.#current]) if (lane) this.#dismiss(lane);
    this.#current = this.#next = null;
    this.#waiting = [];
    this.#input.drop();
  }

  // --- from the desk -----------------------------------------------------------------------------------------------

  #heard(lane: Lane, head: Head, payload: Uint8Array | undefined): void {
    if (lane === this.#next && head.t === "opened") this.#promote(lane);
    if (lane === this.#next && head.t === "closed") {
      this.#leave(lane, head["reason"] !== "link"); // what is there (or the comm) goes on
      return;
    }
    if (lane !== this.#current) return;
    const { handlers } = this.o;
    switch (head.t) {
      case "opened":
        this.#opened(lane, head);
        break;
      case "data":
        if (payload) this.#data(lane, Number(head["stream"]), Number(head["offset"]), payload);
        break;
      case "eof":
        this.#eof(lane, Number(head["stream"]), Number(head["offset"]));
        break;
      case "state":
        this.#state(lane, head["info"]);
        break;
      case "rows":
        if (payload) handlers.rows?.(Number(head["from"]), Number(head["columns"]), numbers(payload));
        break;
      case "ack":
        this.#input.acknowledged(Number(head["upto"]), head["eof"] === true);
        this.#pump();
        break;
      case "error":
        this.#input.refused(Number(head["offset"]));
        handlers.error?.(String(head["text"] ?? ""), String(head["doing"] ?? ""));
        this.#pump();
        break;
      case "closed":
        this.#dropped(lane, String(head["reason"] ?? ""), String(head["text"] ?? ""));
        break;
      default: // a newer desk's; nothing depends on it
    }
  }

  #opened(lane: Lane, head: Head): void {
    const streams = (Array.isArray(head["streams"]) ? head["streams"] : []).map(([stream, from, end]: number[]) => ({
      stream: Number(stream),
      from: Number(from),
      head: Number(end),
    }));
    lane.awaiting = false;
    this.#relinks = 0;
    this.#positions.opened(streams, this.#window);
    const again = this.#begun;
    this.#begun = true;
    const order = Array.isArray(head["order"]) ? head["order"] : [];
    this.o.handlers.opened?.(head["info"], streams, again, order);
    for (const [t, fields] of this.#waiting.splice(0)) this.#say(lane, t, fields);
    this.#grant();
    this.#input.rewind(); // acknowledgements from before this open were not heard
    this.#pump();
  }

  #data(lane: Lane, stream: number, offset: number, payload: Uint8Array): void {
    if (this.#positions.gap(stream, offset)) {
      if (lane.awaiting || (this.#mode === "all" && this.#askAgain(lane))) return;
      this.#positions.skip(stream, offset);
    }
    const news = this.#positions.take(stream, offset, payload);
    if (!news) return;
    this.#gaps = 0;
    this.o.handlers.data?.(stream, news.offset, news.bytes, news.left);
  }

  #eof(lane: Lane, stream: number, offset: number): void {
    if (this.#positions.over(stream)) return;
    if (this.#positions.gap(stream, offset)) {
      // Also in `tail` the end is always sent: it was lost on the way.
      if (lane.awaiting || this.#askAgain(lane)) return;
      this.#positions.skip(stream, offset);
    }
    this.o.handlers.eof?.(stream, offset, this.#positions.end(stream));
  }

  /** Something is missing: opens from where we are. False: that was tried often enough. */
  #askAgain(lane: Lane): boolean {
    if (this.#gaps >= TRIES_ON_A_GAP) return false;
    this.#gaps += 1;
    this.#open(lane);
    return true;
  }

  #state(lane: Lane, info: any): void {
    this.o.handlers.state?.(info);
    if (info?.state !== "ended") return;
    // Its last bytes are the last message: where they are lost, nothing after them shows it.
    this.#later(LAST_MS, () => {
      const missing = this.#positions.total < Number(info.out) + Number(info.err);
      if (missing && this.#current === lane && !lane.awaiting && this.#positions.idle) this.#askAgain(lane);
    });
  }

  #dropped(lane: Lane, reason: string, text: string): void {
    if (reason === "slow") {
      lane.awaiting = true;
      this.#lapsed = true;
      if (this.#positions.idle) this.#later(500, () => this.#lapsed && this.reopen());
    } else if (lane.line.kind === "direct" && (reason === "link" || this.o.hub.comm_live !== false)) {
      this.#leave(lane, reason !== "link"); // the kernel may know more of it
    } else if (reason === "link") {
      lane.awaiting = true;
      this.#later(Math.min(5000, 250 * 2 ** this.#relinks++), () => {
        if (this.#current === lane) this.reopen();
      });
    } else if (reason === "unknown" && !this.#forgotten && (this.#next || this.#tryDirect())) {
      this.#forgotten = true; // by the kernel; the agent may know it
      this.#current = null;
      lane.line.close();
    } else {
      this.#finish(reason, text);
    }
  }

  /** Away from a websocket that works, but has nothing for us. */
  #leave(lane: Lane, forGood: boolean): void {
    clearTimeout(lane.trial);
    lane.line.close();
    this.#died(lane, forGood);
  }

  #finish(reason: string, text: string): void {
    this.#lost(this.#input.drop().unanswered);
    this.close();
    this.o.handlers.closed?.(reason, text);
  }

  // --- to the desk -------------------------------------------------------------------------------------------------

  send<T extends Said>(t: T, fields?: FromView[T]): void {
    if (this.#over) return;
    const lane = this.#current;
    if (lane && !lane.awaiting) {
      this.#say(lane, t, fields);
    } else if (this.#reachable) {
      if (this.#waiting.length < WAITING_MESSAGES) this.#waiting.push([t, fields]);
    } else {
      this.o.handlers.error?.(`Cannot send ${t}: ${NOBODY}.`, t);
    }
  }

  #say(lane: Lane, t: string, fields?: object): void {
    lane.line.send({ t, view: this.view, ...fields });
  }

  credit(stream: number, upto: number, window = this.#window): void {
    this.#window = window;
    if (this.#over || this.#window <= 0) return;
    this.#positions.dealt(stream, upto, window);
    if (this.#lapsed) this.reopen();
    else this.#grant();
  }

  #grant(): void {
    const lane = this.#current;
    if (!lane || lane.awaiting) return;
    for (const [stream, upto] of this.#positions.grants()) this.#say(lane, "credit", { stream, upto });
  }

  stdin(bytes: Uint8Array): void {
    if (this.#over || bytes.length === 0) return;
    if (!this.#reachable || !this.#input.put(bytes)) {
      const why = this.#reachable ? "the process does not read as fast" : NOBODY;
      this.o.handlers.error?.(`Cannot send ${size(bytes.length)} of input: ${why}.`, "stdin");
      return;
    }
    this.#pump();
  }

  end(): void {
    if (this.#over) return;
    if (this.#reachable) {
      this.#input.finish();
      this.#pump();
    } else {
      this.o.handlers.error?.(`Cannot send the end of input: ${NOBODY}.`, "eof");
    }
  }

  get #reachable(): boolean {
    return Boolean(this.#current ?? this.#next ?? this.#told === null);
  }

  #pump(): void {
    const lane = this.#current;
    if (this.#over || !lane || lane.awaiting) return;
    this.#input.pump(
      (offset, piece) => lane.line.send({ t: "stdin", view: this.view, offset }, piece),
      (offset) => this.#say(lane, "eof", { offset }),
    );
  }

  /** Input was on its way when all carriers went. */
  #lost(bytes: number): void {
    if (bytes === 0) return;
    this.o.handlers.error?.(`Cannot tell whether the last ${size(bytes)} of input arrived: the connection broke. Look before you type again.`, "stdin");
  }

  #giveUp(): void {
    for (const [t] of this.#waiting.splice(0)) {
      this.o.handlers.error?.(`Cannot send ${t}: ${NOBODY}.`, t);
    }
    const { unanswered, unsent, end } = this.#input.drop();
    this.#lost(unanswered);
    if (unsent > 0) this.o.handlers.error?.(`Cannot send ${size(unsent)} of input: ${NOBODY}.`, "stdin");
    if (end) this.o.handlers.error?.(`Cannot send the end of input: ${NOBODY}.`, "eof");
  }

  #later(ms: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#over) act();
    }, ms);
    this.#timers.add(timer);
  }
}

/** `<f8` wherever it lies in its buffer. */
function numbers(payload: Uint8Array): Float64Array {
  const size = payload.length - (payload.length % 8);
  return new Float64Array(payload.slice(0, size).buffer);
}
