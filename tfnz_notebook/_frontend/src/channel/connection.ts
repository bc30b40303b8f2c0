// One view's channel, over two carriers.
//
// Theory of operation. Bytes have absolute offsets, so a channel needs to know only how far it has come on each stream:
// whatever arrives below that is overlap and dropped, whatever arrives beyond it is a gap. A *lane* is one attempt at one
// carrier. One lane is current; another may be on trial (its `open` names where we are) and becomes current with its
// `opened`; the one before then only waits for the acknowledgements of its stdin. Stdin goes down one lane at a time and
// is never sent twice: input that a broken lane did not acknowledge is reported, not repeated, because a command that
// runs twice is worse than one that must be typed again.
import type { CarrierKind, Channel, ConnectOptions, Said } from "../hub.js";
import { size } from "../numbers.js";
import type { FromView } from "../protocol.js";
import { type Ends, type Line, type Ticket, onWake, openComm, openDirect, viewsUrl } from "./carriers.js";
import { type Head, newId } from "./frames.js";
import { type Flight, Input, aboard } from "./input.js";
import { Positions } from "./positions.js";

const DIRECT_AGAIN_MS = 30_000;
const OPENED_MS = 4_000; // a websocket that opened, but says nothing
const RETIRE_MS = 10_000;
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
  /** Credit given, by stream. */
  upto: Map<number, number>;
  unacked: Flight;
  trial: ReturnType<typeof setTimeout> | undefined;
}

const NOBODY = "neither the kernel nor the Jupyter server answers";

export class Connection implements Channel {
  readonly view = newId();
  private current: Lane | null = null;
  private next: Lane | null = null;
  private retiring: Lane | null = null;
  private told: CarrierKind | null = null;

  private readonly positions = new Positions();
  private gaps = 0; // opens because of one, since the last byte that fitted
  private begun = false;
  private mode = "";
  private window = 0;

  private readonly input = new Input();
  private waiting: [t: Said, fields: object | undefined][] = [];

  private refused = false; // this ticket, by the server
  private forgotten = false; // by the kernel
  private lapsed = false; // closed as slow: opens again with the next credit
  private resting = false; // closed by its view: opens again when that asks
  private failures = 0;
  private relinks = 0;
  private over = false;
  private readonly timers = new Set<ReturnType<typeof setTimeout>>();
  private readonly unwake: () => void;
  /** A page that goes away says so, as far as it still can: nobody sends to it, or waits for it, any more. */
  private readonly leaving = (event: { persisted?: boolean }): void => {
    if (!event.persisted) this.close();
  };

  constructor(private readonly o: ConnectOptions) {
    this.unwake = onWake(o.hub, () => {
      if (!this.current && !this.over) this.tryComm();
    });
    globalThis.addEventListener?.("pagehide", this.leaving);
    const early = Date.now() - memory.failed < DIRECT_AGAIN_MS;
    if (early || !this.tryDirect()) {
      // Not at once: the caller does not have its channel yet.
      queueMicrotask(() => {
        if (this.over || this.current || this.next) return;
        if (!this.tryComm() && !this.tryDirect()) this.none();
      });
    }
  }

  offer(ticket: Ticket): void {
    this.o.direct = ticket;
    this.refused = false;
    if (this.carrier !== "direct" && Date.now() - memory.failed >= DIRECT_AGAIN_MS) this.tryDirect();
  }

  get carrier(): CarrierKind {
    return this.current?.line.kind ?? "none";
  }

  // --- carriers ----------------------------------------------------------------------------------------------------

  private get directPossible(): boolean {
    return Boolean(this.o.direct) && !this.refused && viewsUrl() !== null;
  }

  /** Puts a websocket on trial; false where there can be none. */
  private tryDirect(): boolean {
    if (this.over || this.resting || this.next || !this.o.direct || !this.directPossible) return false;
    const lane = this.lane((ends) =>
      openDirect(this.o.direct as Ticket, {
        ...ends,
        ready: () => {
          memory.failed = -Infinity;
          this.open(lane as Lane);
          (lane as Lane).trial = setTimeout(() => ends.dead(false), OPENED_MS);
        },
      }),
    );
    if (!lane) return false;
    this.next = lane;
    return true;
  }

  private tryComm(): boolean {
    if (this.over) return false;
    const lane = this.lane((ends) => openComm(this.o.hub, this.view, ends));
    if (!lane) return false;
    this.current = lane;
    this.tell();
    this.open(lane);
    this.later(DIRECT_AGAIN_MS, () => this.upgrade());
    return true;
  }

  private lane(opening: (ends: Ends) => Line | null): Lane | null {
    let dead = false;
    const lane: Lane = {
      line: null as unknown as Line,
      awaiting: true,
      upto: new Map(),
      unacked: new Map(),
      trial: undefined,
    };
    const line = opening({
      ready: () => undefined,
      message: (head, payload) => {
        if (!dead && !this.over) this.heard(lane, head, payload);
      },
      dead: (refused) => {
        if (dead) return;
        dead = true;
        clearTimeout(lane.trial);
        lane.line?.close();
        if (!this.over) this.died(lane, refused);
      },
    });
    if (!line) return null;
    lane.line = line;
    return lane;
  }

  /** From the comm to the direct path, if that has come up meanwhile. */
  private upgrade(): void {
    if (this.over || this.carrier !== "comm" || this.next || !this.directPossible || this.positions.finished) return;
    this.tryDirect();
    this.later(DIRECT_AGAIN_MS, () => this.upgrade());
  }

  private died(lane: Lane, refused: boolean): void {
    if (lane.line?.kind === "direct") {
      if (refused) this.refused = true;
      else memory.failed = Date.now();
    }
    this.lost(lane);
    if (lane === this.retiring) {
      this.retiring = null;
      this.pump();
    } else if (lane === this.next) {
      this.next = null;
      if (!this.current) this.fallBack();
    } else if (lane === this.current) {
      this.current = null;
      if (!this.next) this.fallBack();
    }
  }

  /** No lane is left: the comm, else the direct path, else nothing for a while. */
  private fallBack(): void {
    if (this.tryComm()) {
      this.failures = 0;
    } else if (this.told !== "comm" || this.failures++ > 0 || !this.tryDirect()) {
      this.none();
    }
  }

  private none(): void {
    this.tell();
    this.giveUpWaiting();
    if (this.directPossible && !this.positions.finished) {
      const wait = Math.min(DIRECT_AGAIN_MS, 1000 * 2 ** this.failures++);
      this.later(wait, () => {
        if (this.current || this.next) return;
        if (!this.tryComm() && !this.tryDirect()) this.none();
      });
    }
  }

  private tell(): void {
    if (this.told === this.carrier) return;
    this.told = this.carrier;
    this.o.handlers.carrier?.(this.carrier);
  }

  private promote(lane: Lane): void {
    clearTimeout(lane.trial);
    const old = this.current;
    this.next = null;
    this.current = lane;
    this.failures = 0;
    if (old) this.retire(old);
    this.tell();
  }

  private retire(lane: Lane): void {
    if (this.retiring) this.dismiss(this.retiring);
    if (lane.unacked.size === 0) {
      this.dismiss(lane);
      return;
    }
    this.retiring = lane;
    this.later(RETIRE_MS, () => {
      if (this.retiring !== lane) return;
      this.dismiss(lane);
      this.pump();
    });
  }

  private dismiss(lane: Lane): void {
    if (this.retiring === lane) this.retiring = null;
    this.lost(lane);
    lane.line.send({ t: "close", view: this.view });
    lane.line.close();
  }

  // --- opening -----------------------------------------------------------------------------------------------------

  private open(lane: Lane): void {
    const body = this.o.openBody();
    this.mode = String(body["mode"] ?? "");
    this.window = Number(body["window"] ?? 0);
    lane.awaiting = true;
    if (this.resting) return;
    lane.line.send({ t: "open", view: this.view, subject: this.o.subject, ...this.positions.from, ...body });
  }

  rest(): void {
    const lane = this.current;
    if (this.over || this.resting || !lane || lane.awaiting || this.next || this.retiring) return;
    if (lane.unacked.size > 0 || !this.input.empty) return; // its acknowledgement would not be heard
    this.resting = lane.awaiting = true;
    this.say(lane, "close");
  }

  reopen(): void {
    const rested = this.resting;
    this.resting = false;
    if (this.over || !this.current) {
      if (rested && !this.over) this.fallBack(); // its carrier died meanwhile
      return;
    }
    this.lapsed = false;
    this.lost(this.current);
    this.open(this.current);
  }

  close(): void {
    if (this.over) return;
    this.over = true;
    this.unwake();
    globalThis.removeEventListener?.("pagehide", this.leaving);
    for (const timer of this.timers) clearTimeout(timer);
    for (const lane of [this.retiring, this.next, this.current]) {
      if (!lane) continue;
      clearTimeout(lane.trial);
      lane.line.send({ t: "close", view: this.view });
      lane.line.close();
    }
    this.current = this.next = this.retiring = null;
    this.waiting = [];
    this.input.drop();
  }

  // --- from the desk -----------------------------------------------------------------------------------------------

  private heard(lane: Lane, head: Head, payload: Uint8Array | undefined): void {
    if (head.t === "ack") {
      this.acked(lane, Number(head["seq"]));
      return;
    }
    if (lane === this.next && head.t === "opened") this.promote(lane);
    if (lane === this.next && head.t === "closed") {
      this.leave(lane, head["reason"] !== "link"); // what is there (or the comm) goes on
      return;
    }
    if (lane === this.retiring && head.t === "closed") {
      this.dismiss(lane);
      this.pump();
      return;
    }
    if (lane !== this.current) return;
    const { handlers } = this.o;
    switch (head.t) {
      case "opened":
        this.opened(lane, head);
        break;
      case "data":
        if (payload) this.data(lane, Number(head["stream"]), Number(head["offset"]), payload);
        break;
      case "eof":
        this.eof(lane, Number(head["stream"]), Number(head["offset"]));
        break;
      case "state":
        this.state(lane, head["info"]);
        break;
      case "rows":
        if (payload) handlers.rows?.(Number(head["from"]), Number(head["columns"]), numbers(payload));
        break;
      case "error":
        lane.unacked.delete(Number(head["seq"])); // refused: it is not on the way any more
        handlers.error?.(String(head["text"] ?? ""), String(head["doing"] ?? ""));
        this.pump();
        break;
      case "closed":
        this.dropped(lane, String(head["reason"] ?? ""), String(head["text"] ?? ""));
        break;
      default: // a newer desk's; nothing depends on it
    }
  }

  private opened(lane: Lane, head: Head): void {
    const streams = (Array.isArray(head["streams"]) ? head["streams"] : []).map(([stream, from, end]: number[]) => ({
      stream: Number(stream),
      from: Number(from),
      head: Number(end),
    }));
    lane.awaiting = false;
    this.relinks = 0;
    this.positions.opened(streams);
    for (const { stream, from } of streams) lane.upto.set(stream, from + this.window);
    const again = this.begun;
    this.begun = true;
    this.o.handlers.opened?.(head["info"], streams, again);
    for (const [t, fields] of this.waiting.splice(0)) this.say(lane, t, fields);
    for (const [stream, upto] of this.positions.credits) this.credit(stream, upto);
    this.pump();
  }

  private data(lane: Lane, stream: number, offset: number, payload: Uint8Array): void {
    if (this.positions.gap(stream, offset)) {
      if (lane.awaiting || (this.mode === "all" && this.askAgain(lane))) return;
      this.positions.skip(stream, offset);
    }
    const news = this.positions.take(stream, offset, payload);
    if (!news) return;
    this.gaps = 0;
    this.o.handlers.data?.(stream, news.offset, news.bytes, news.left);
  }

  private eof(lane: Lane, stream: number, offset: number): void {
    if (this.positions.over(stream)) return;
    if (this.positions.gap(stream, offset)) {
      // Also in `tail` the end is always sent: it was lost on the way.
      if (lane.awaiting || this.askAgain(lane)) return;
      this.positions.skip(stream, offset);
    }
    this.o.handlers.eof?.(stream, offset, this.positions.end(stream));
  }

  /** Something is missing: opens from where we are. False: that was tried often enough. */
  private askAgain(lane: Lane): boolean {
    if (this.gaps >= TRIES_ON_A_GAP) return false;
    this.gaps += 1;
    this.open(lane);
    return true;
  }

  private state(lane: Lane, info: any): void {
    this.o.handlers.state?.(info);
    if (info?.state !== "ended") return;
    // Its last bytes are the last message: where they are lost, nothing after them shows it.
    this.later(LAST_MS, () => {
      const missing = this.positions.total < Number(info.out) + Number(info.err);
      if (missing && this.current === lane && !lane.awaiting && this.positions.idle) this.askAgain(lane);
    });
  }

  private dropped(lane: Lane, reason: string, text: string): void {
    this.lost(lane);
    if (reason === "slow") {
      lane.awaiting = true;
      this.lapsed = true;
      if (this.positions.idle) this.later(500, () => this.lapsed && this.reopen());
    } else if (lane.line.kind === "direct" && (reason === "link" || this.o.hub.comm_live !== false)) {
      this.leave(lane, reason !== "link"); // the kernel may know more of it
    } else if (reason === "link") {
      lane.awaiting = true;
      this.later(Math.min(5000, 250 * 2 ** this.relinks++), () => {
        if (this.current === lane) this.reopen();
      });
    } else if (reason === "unknown" && !this.forgotten && (this.next || this.tryDirect())) {
      this.forgotten = true; // by the kernel; the agent may know it
      this.current = null;
      lane.line.close();
    } else {
      this.finish(reason, text);
    }
  }

  /** Away from a websocket that works, but has nothing for us. */
  private leave(lane: Lane, forGood: boolean): void {
    clearTimeout(lane.trial);
    lane.line.close();
    this.died(lane, forGood);
  }

  private finish(reason: string, text: string): void {
    this.close();
    this.o.handlers.closed?.(reason, text);
  }

  // --- to the desk -------------------------------------------------------------------------------------------------

  send<T extends Said>(t: T, fields?: FromView[T]): void {
    if (this.over) return;
    const lane = this.current;
    if (t === "eof" && (!this.input.empty || this.retiring || lane?.awaiting)) {
      this.input.end();
    } else if (lane && !lane.awaiting) {
      this.say(lane, t, fields);
    } else if (lane || this.next || this.told === null) {
      if (this.waiting.length < WAITING_MESSAGES) this.waiting.push([t, fields]);
    } else {
      this.o.handlers.error?.(`Cannot send ${t}: ${NOBODY}.`, t);
    }
  }

  private say(lane: Lane, t: string, fields?: object): void {
    lane.line.send({ t, view: this.view, ...fields });
  }

  credit(stream: number, upto: number, window = this.window): void {
    this.window = window;
    if (this.over || this.window <= 0) return;
    this.positions.dealt(stream, upto);
    if (this.lapsed) {
      this.reopen();
      return;
    }
    const lane = this.current;
    if (!lane || lane.awaiting) return;
    const target = upto + this.window;
    const given = lane.upto.get(stream) ?? 0;
    // A quarter of the window at a time: few messages, and the desk never runs dry meanwhile.
    if (target - given < this.window / 4) return;
    lane.upto.set(stream, target);
    this.say(lane, "credit", { stream, upto: target });
  }

  stdin(bytes: Uint8Array): void {
    if (this.over || bytes.length === 0) return;
    const reachable = this.current ?? this.next ?? this.told === null;
    if (!reachable || !this.input.put(bytes)) {
      const why = reachable ? "the process does not read as fast" : NOBODY;
      this.o.handlers.error?.(`Cannot send ${size(bytes.length)} of input: ${why}.`, "stdin");
      return;
    }
    this.pump();
  }

  private pump(): void {
    const lane = this.current;
    if (this.over || !lane || lane.awaiting || this.retiring) return;
    this.input.pump(
      lane.unacked,
      (seq, piece) => lane.line.send({ t: "stdin", view: this.view, seq }, piece),
      () => this.say(lane, "eof"),
    );
  }

  private acked(lane: Lane, seq: number): void {
    for (const sent of [...lane.unacked.keys()]) if (sent <= seq) lane.unacked.delete(sent);
    if (lane === this.retiring && lane.unacked.size === 0) this.dismiss(lane);
    this.pump();
  }

  /** A lane is gone with input on the way. */
  private lost(lane: Lane): void {
    const lost = aboard(lane.unacked);
    lane.unacked.clear();
    if (lost === 0) return;
    this.o.handlers.error?.(`Cannot tell whether the last ${size(lost)} of input arrived: the connection broke. Look before you type again.`, "stdin");
  }

  private giveUpWaiting(): void {
    for (const [t] of this.waiting.splice(0)) {
      this.o.handlers.error?.(`Cannot send ${t}: ${NOBODY}.`, t);
    }
    if (this.input.empty) return;
    this.o.handlers.error?.(`Cannot send ${size(this.input.size)} of input: ${NOBODY}.`, "stdin");
    this.input.drop();
  }

  private later(ms: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      if (!this.over) act();
    }, ms);
    this.timers.add(timer);
  }
}

/** `<f8` wherever it lies in its buffer. */
function numbers(payload: Uint8Array): Float64Array {
  const size = payload.length - (payload.length % 8);
  return new Float64Array(payload.slice(0, size).buffer);
}
