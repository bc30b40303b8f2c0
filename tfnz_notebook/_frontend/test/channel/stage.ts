// Two carriers that lose, hold back and die at every point, and a view that checks what every view may rely on. Who
// imports this has them anew for each test.
import assert from "node:assert/strict";
import { afterEach, beforeEach } from "node:test";
import { type Head, pack, unpack } from "../../src/channel/frames.js";
import { type Channel, type ConnectOptions, connect } from "../../src/hub.js";
import { Clock } from "../time.js";
import { FakeDesk, FakeHub, FakeProcess } from "./desk.js";

export const memory = (globalThis as any)[Symbol.for("tfnz.direct")] as { failed: number };
export const TICKET = { agent: "default", process: "p", ticket: "secret" };

/** What the page's Jupyter server does with websockets. */
class Server {
  mode: "accept" | "silent" | "refuse" | "forbid" | "mute" = "accept";
  readonly sockets: FakeSocket[] = [];
  constructor(readonly processes: Map<string, FakeProcess>) {}
  get live(): FakeSocket | undefined {
    return this.sockets.find((each) => each.readyState === 1);
  }
  pump(): void {
    for (const socket of this.sockets) if (socket.readyState === 1) socket.desk.pump();
  }
}

export let clock: Clock;
export let server: Server;
export let hub: FakeHub;
export let process: FakeProcess;

export class FakeSocket {
  static readonly OPEN = 1;
  readyState = 0;
  binaryType = "";
  onopen?: () => void;
  onmessage?: (event: { data: ArrayBuffer }) => void;
  onerror?: () => void;
  onclose?: (event: { code: number }) => void;
  hello: Head | undefined;
  readonly desk = new FakeDesk(server.processes, (messages) => {
    for (const [head, payload] of messages) {
      if (this.readyState !== 1) return;
      this.onmessage?.({ data: pack(head, payload).buffer as ArrayBuffer });
    }
  });

  constructor(readonly url: string) {
    server.sockets.push(this);
    const { mode } = server;
    if (mode === "silent") return;
    queueMicrotask(() => {
      if (mode === "refuse") this.end(1006);
      else {
        this.readyState = 1;
        this.onopen?.();
      }
    });
  }

  send(frame: Uint8Array): void {
    const [head, payload] = unpack(frame.slice().buffer as ArrayBuffer);
    if (head.t === "hello") {
      this.hello = head;
      if (server.mode === "forbid") queueMicrotask(() => this.end(4403));
    } else if (server.mode === "accept") this.desk.received(head, payload);
  }

  close(): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.desk.open.clear();
  }

  end(code: number): void {
    if (this.readyState === 3) return;
    this.close();
    this.onclose?.({ code });
  }
}

/** A view that keeps what it is given, and checks what every view may rely on. */
export class Seen {
  readonly text = new Map<number, string>([[1, ""], [2, ""]]);
  readonly log: string[] = [];
  readonly errors: string[] = [];
  left = 0;
  channel!: Channel;
  private readonly next = new Map<number, number>();

  constructor(options: Partial<ConnectOptions> = {}, mode = "all", window = 64, credits = true) {
    this.channel = connect({
      hub,
      subject: "p",
      direct: TICKET,
      openBody: () => ({ mode, window, keep: 1e6 }),
      ...options,
      handlers: {
        opened: (_info, streams, again) => {
          this.log.push(again ? "again" : "opened");
          if (!again) for (const { stream, from } of streams) this.next.set(stream, from);
        },
        data: (stream, offset, bytes, left) => {
          assert.equal(offset, (this.next.get(stream) as number) + left, "a byte is missing or came twice");
          this.next.set(stream, offset + bytes.length);
          this.left += left;
          this.text.set(stream, this.text.get(stream) + new TextDecoder().decode(bytes));
          if (credits) this.channel.credit(stream, offset + bytes.length);
        },
        eof: (stream) => this.log.push(`eof ${stream}`),
        error: (text) => this.errors.push(text),
        closed: (reason) => this.log.push(`closed ${reason}`),
        carrier: (kind) => this.log.push(kind),
        state: () => this.log.push("state"),
      },
    });
  }

  get out(): string {
    return this.text.get(1) as string;
  }

  get whole(): boolean {
    return this.log.includes("eof 1") && this.log.includes("eof 2");
  }
}

export async function turns(count = 6): Promise<void> {
  for (let i = 0; i < count; i += 1) await Promise.resolve();
}

/** Time passes, and the desks send what they may. */
export async function pass(ms = 0): Promise<void> {
  await turns();
  clock.tick(ms);
  await turns();
}

export async function pump(): Promise<void> {
  hub.desk.pump();
  server.pump();
  await turns();
}

export async function until(done: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 600; i += 1) {
    if (done()) return;
    await pump();
    await pass(100);
  }
  assert.fail(`never: ${what}`);
}

/** Another process, and nobody has yet asked for it; the direct path may be tried. */
export function anew(): void {
  memory.failed = -Infinity;
  process = new FakeProcess("p");
  const processes = new Map([["p", process]]);
  hub = new FakeHub(processes);
  server = new Server(processes);
}

/** Another server, which knows the process even where the kernel does not. */
export function serve(): void {
  server = new Server(new Map([["p", process]]));
}

beforeEach(() => {
  clock = new Clock();
  clock.install();
  anew();
  Object.assign(globalThis, {
    WebSocket: FakeSocket,
    document: {
      baseURI: "https://hub.example/user/ann/lab",
      getElementById: (id: string) =>
        id === "jupyter-config-data" ? { textContent: '{"baseUrl": "/user/ann/", "token": "t&k", "tfnzViews": "true"}' } : null,
    },
  });
});

afterEach(() => clock.restore());

export const OUT = Array.from({ length: 90 }, (_, i) => `line ${i}\n`).join("");
export const ERR = Array.from({ length: 40 }, (_, i) => `error ${i}\n`).join("");

export function writeAll(): void {
  process.out(OUT);
  process.err(ERR);
  process.end(0);
}

export function complete(seen: Seen): void {
  assert.equal(seen.out, OUT);
  assert.equal(seen.text.get(2), ERR);
  assert.equal(seen.left, 0);
  assert.equal(seen.log.filter((each) => each.startsWith("eof")).length, 2);
}
