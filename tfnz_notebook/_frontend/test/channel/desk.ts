// A desk in the page, for tests and for the harness: a hub model with nothing behind it but logs in memory. It keeps to
// VIEWS.md (credit, tail, gaps) and can lose, hold back and die.
import type { HubModel } from "../../src/channel/carriers.js";
import type { Head } from "../../src/channel/frames.js";
import { Sender } from "../../src/channel/window.js";
import { VERSION } from "../../src/protocol.js";

const PIECE = 64 * 1024;

/** What a process wrote: kept bytes, or made up on demand where gigabytes are wanted. */
export class Log {
  head = 0;
  private kept = new Uint8Array(0);

  constructor(private readonly make?: (offset: number, length: number) => Uint8Array) {}

  write(data: string | Uint8Array): void {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    if (this.head + bytes.length > this.kept.length) {
      const grown = new Uint8Array(2 * (this.head + bytes.length));
      grown.set(this.kept.subarray(0, this.head));
      this.kept = grown;
    }
    this.kept.set(bytes, this.head);
    this.head += bytes.length;
  }

  read(offset: number, length: number): Uint8Array {
    return this.make ? this.make(offset, length) : this.kept.slice(offset, offset + length);
  }
}

interface Open {
  view: string;
  process: FakeProcess;
  mode: string;
  keep: number;
  streams: Map<number, Sender>;
  ended: Set<number>;
}

/** A subject: two logs and a state. */
export class FakeProcess {
  readonly logs = new Map<number, Log>([[1, new Log()], [2, new Log()]]);
  readonly stdin: Uint8Array[] = [];
  readonly asked: Head[] = [];
  over = false;
  acks = true;
  private readonly written = new Set<string>();
  private info: Record<string, unknown>;

  constructor(readonly subject: string, info: Record<string, unknown> = {}) {
    this.info = {
      state: "running", command: "sh -c demo", container: "web", pid: 42, returncode: null, timed_out: false,
      oom: false, tty: false, rows: 24, columns: 80, started: Date.now(), ran: null, ...info,
    };
  }

  get state(): Record<string, unknown> {
    const [out, err] = [this.log(1).head, this.log(2).head];
    return { ...this.info, out, err, now: Date.now() };
  }

  log(stream: number): Log {
    return this.logs.get(stream) as Log;
  }

  out(data: string | Uint8Array): void {
    this.log(1).write(data);
  }

  err(data: string | Uint8Array): void {
    this.log(2).write(data);
  }

  end(returncode: number, more: Record<string, unknown> = {}): void {
    this.over = true;
    const ran = (Date.now() - Number(this.info["started"])) / 1000;
    this.info = { ...this.info, state: "ended", returncode, ran, ...more };
  }

  /** As the agent does it: a name is written once, over whichever carrier it comes. */
  write(name: string, bytes: Uint8Array): void {
    if (!this.written.has(name)) this.stdin.push(bytes.slice());
    this.written.add(name);
  }

  get typed(): string {
    return this.stdin.map((part) => new TextDecoder().decode(part)).join("");
  }
}

/** What all carriers of a test share: the processes, and what was sent. */
export class FakeDesk {
  readonly open = new Map<string, Open>();
  /** Called with each message to a view; false loses it. */
  tap: (head: Head, payload?: Uint8Array) => boolean = () => true;

  constructor(
    readonly processes: Map<string, FakeProcess>,
    private readonly post: (messages: [Head, Uint8Array | undefined][]) => void,
    private readonly most = 256 * 1024,
  ) {}

  received(head: Head, payload?: Uint8Array): void {
    const view = String(head.view);
    if (head.t === "open") {
      this.begin(view, head);
      return;
    }
    const open = this.open.get(view);
    if (!open) return;
    const { process } = open;
    if (head.t === "close") this.open.delete(view);
    else if (head.t === "credit") open.streams.get(Number(head["stream"]))?.allow(Number(head["upto"]));
    else if (head.t === "stdin") {
      const offset = Number(head["offset"]);
      if (payload) process.write(`${view}-${offset}`, payload);
      this.answer(process, { t: "ack", view, upto: offset + (payload?.length ?? 0) });
    } else {
      process.asked.push(head);
      if (head.t === "eof") this.answer(process, { t: "ack", view, upto: head["offset"], eof: true });
    }
  }

  private answer(process: FakeProcess, head: Head): void {
    if (process.acks) this.send([[head, undefined]]);
  }

  private begin(view: string, head: Head): void {
    const process = this.processes.get(String(head["subject"]));
    if (!process) {
      this.send([[{ t: "closed", view, reason: "unknown", text: "No such process." }, undefined]]);
      return;
    }
    const keep = Number(head["keep"] ?? 256 * 1024);
    const from = (head["from"] ?? {}) as Record<string, number>;
    const open: Open = {
      view, process, keep, mode: String(head["mode"]), streams: new Map(), ended: new Set(),
    };
    this.open.set(view, open);
    const streams = [...process.logs].map(([stream, log]) => {
      const least = Math.max(0, log.head - keep);
      const start = open.mode === "all" ? (from[stream] ?? least) : Math.max(from[stream] ?? 0, least);
      open.streams.set(stream, new Sender({ offset: start, allowed: start + Number(head["window"] ?? 0) }));
      return [stream, start, log.head];
    });
    this.send([[{ t: "opened", view, streams, info: process.state }, undefined]]);
  }

  state(process: FakeProcess): void {
    for (const { view, process: its } of this.open.values()) {
      if (its === process) this.send([[{ t: "state", view, info: process.state }, undefined]]);
    }
  }

  drop(reason: string, text = ""): void {
    for (const view of [...this.open.keys()]) {
      this.open.delete(view);
      this.send([[{ t: "closed", view, reason, text }, undefined]]);
    }
  }

  /** One round: what credit allows, at most so much in all. */
  pump(): boolean {
    const messages: [Head, Uint8Array | undefined][] = [];
    let room = this.most;
    for (const open of this.open.values()) {
      for (const [stream, log] of open.process.logs) {
        const sender = open.streams.get(stream) as Sender;
        sender.head = log.head;
        if (open.mode === "tail") sender.skip(log.head - open.keep);
        while (room > 0) {
          const length = Math.min(PIECE, room, sender.ready);
          if (length <= 0) break;
          const offset = sender.send(length);
          messages.push([{ t: "data", view: open.view, stream, offset }, log.read(offset, length)]);
          room -= length;
        }
        const at = sender.sent;
        if (open.process.over && at === log.head && !open.ended.has(stream)) {
          open.ended.add(stream);
          messages.push([{ t: "eof", view: open.view, stream, offset: at }, undefined]);
        }
      }
    }
    this.send(messages);
    return messages.length > 0;
  }

  private send(messages: [Head, Uint8Array | undefined][]): void {
    const passed = messages.filter(([head, payload]) => this.tap(head, payload));
    if (passed.length > 0) this.post(passed);
  }
}

/** The hub's model in the page, with a desk behind it. */
export class FakeHub implements HubModel {
  [extra: symbol]: unknown;
  comm_live = true;
  readonly desk: FakeDesk;
  sent = 0;
  heads: Head[] = [];
  private readonly listeners = new Map<string, Set<(...args: any[]) => void>>();

  constructor(processes: Map<string, FakeProcess> = new Map()) {
    this.desk = new FakeDesk(processes, (messages) => {
      const buffers: DataView[] = [];
      const m = messages.map(([head, payload]) => {
        if (!payload) return head;
        buffers.push(new DataView(payload.buffer, payload.byteOffset, payload.byteLength));
        return { ...head, b: buffers.length - 1 };
      });
      this.trigger("msg:custom", { v: VERSION, m }, buffers);
    });
  }

  on(event: string, callback: (...args: any[]) => void): void {
    const there = this.listeners.get(event) ?? new Set();
    this.listeners.set(event, there.add(callback));
  }

  trigger(event: string, ...args: unknown[]): void {
    for (const callback of [...(this.listeners.get(event) ?? [])]) callback(...args);
  }

  send(content: unknown, _callbacks?: unknown, buffers: ArrayBufferView[] | ArrayBuffer[] = []): void {
    if (!this.comm_live) throw new Error("Cannot send: the kernel is dead.");
    this.sent += 1;
    for (const { b, ...head } of (content as { m: (Head & { b?: number })[] }).m) {
      this.heads.push(head);
      this.desk.received(head, b === undefined ? undefined : (buffers[b] as Uint8Array));
    }
  }

  /** As a kernel's restart does it. */
  die(): void {
    this.comm_live = false;
    this.desk.open.clear();
    this.trigger("comm_live_update");
  }

  revive(): void {
    this.comm_live = true;
    this.trigger("comm_live_update");
  }
}
