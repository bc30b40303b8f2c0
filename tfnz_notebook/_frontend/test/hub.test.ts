// hub.ts between two carriers that lose, hold back and die at every point: each byte is seen once, in order.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { type Head, pack, unpack } from "../src/channel/frames.js";
import { type Channel, type ConnectOptions, connect } from "../src/hub.js";
import { Clock } from "./clock.js";
import { FakeDesk, FakeHub, FakeProcess } from "./desk.js";

const memory = (globalThis as any)[Symbol.for("tfnz.direct")] as { failed: number };
const TICKET = { agent: "default", process: "p", ticket: "secret" };

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

let clock: Clock;
let server: Server;
let hub: FakeHub;
let process: FakeProcess;

class FakeSocket {
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
class Seen {
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

async function turns(count = 6): Promise<void> {
  for (let i = 0; i < count; i += 1) await Promise.resolve();
}

/** Time passes, and the desks send what they may. */
async function pass(ms = 0): Promise<void> {
  await turns();
  clock.tick(ms);
  await turns();
}

async function pump(): Promise<void> {
  hub.desk.pump();
  server.pump();
  await turns();
}

async function until(done: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 600; i += 1) {
    if (done()) return;
    await pump();
    await pass(100);
  }
  assert.fail(`never: ${what}`);
}

beforeEach(() => {
  clock = new Clock();
  clock.install();
  memory.failed = -Infinity;
  process = new FakeProcess("p");
  const processes = new Map([["p", process]]);
  hub = new FakeHub(processes);
  server = new Server(processes);
  Object.assign(globalThis, {
    WebSocket: FakeSocket,
    document: {
      baseURI: "https://hub.example/user/ann/lab",
      getElementById: (id: string) =>
        id === "jupyter-config-data" ? { textContent: '{"baseUrl": "/user/ann/", "token": "t&k"}' } : null,
    },
  });
});

afterEach(() => clock.restore());

const OUT = Array.from({ length: 90 }, (_, i) => `line ${i}\n`).join("");
const ERR = Array.from({ length: 40 }, (_, i) => `error ${i}\n`).join("");

function writeAll(): void {
  process.out(OUT);
  process.err(ERR);
  process.end(0);
}

function complete(seen: Seen): void {
  assert.equal(seen.out, OUT);
  assert.equal(seen.text.get(2), ERR);
  assert.equal(seen.left, 0);
  assert.equal(seen.log.filter((each) => each.startsWith("eof")).length, 2);
}

test("the direct path is taken first, with the page's base URL, token and ticket", async () => {
  const seen = new Seen();
  await pass();
  assert.equal(server.sockets[0]?.url, "wss://hub.example/user/ann/tfnz/views?token=t%26k");
  assert.deepEqual(server.sockets[0]?.hello, { t: "hello", version: 1, ...TICKET });
  assert.deepEqual(seen.log, ["direct", "opened"]);
  assert.equal(hub.sent, 0, "the kernel is not asked");
  writeAll();
  await until(() => seen.whole, "the end");
  complete(seen);
});

test("without a page configuration, or without a ticket, the comm is used", async () => {
  for (const page of [true, false]) {
    if (!page) (globalThis as any).document.getElementById = () => null;
    const seen = new Seen(page ? { direct: null } : {});
    await pass();
    assert.deepEqual(seen.log, ["comm", "opened"]);
    seen.channel.close();
  }
  assert.equal(server.sockets.length, 0);
});

test("a server without our extension, or one that does not answer, is left for the comm and remembered", async () => {
  for (const mode of ["refuse", "silent", "mute", "forbid"] as const) {
    memory.failed = -Infinity;
    server.mode = mode;
    const seen = new Seen();
    await pass(mode === "silent" ? 1001 : mode === "mute" ? 4001 : 0);
    assert.deepEqual(seen.log, ["comm", "opened"], mode);
    const tried = server.sockets.length;
    if (mode === "refuse" || mode === "silent") {
      const second = new Seen();
      await pass(2000);
      assert.deepEqual(second.log, ["comm", "opened"], `${mode}: the second view`);
      assert.equal(server.sockets.length, tried, `${mode}: the second view does not try`);
      second.channel.close();
    }
    seen.channel.close();
  }
});

test("the direct path is tried again after 30 s, and taken over without losing or doubling a byte", async () => {
  server.mode = "refuse";
  const seen = new Seen();
  await pass();
  process.out(OUT.slice(0, 300));
  await until(() => seen.out.length === 300, "the first part");
  server.mode = "accept";
  process.out(OUT.slice(300));
  process.err(ERR);
  await pass(30_001);
  await until(() => seen.log.includes("direct"), "the change");
  await until(() => hub.desk.open.size === 0, "the old one is closed");
  process.end(0);
  await until(() => seen.whole, "the end");
  complete(seen);
  assert.deepEqual(seen.log.slice(0, 4), ["comm", "opened", "direct", "again"]);
});

test("what the old carrier still delivers after the change is dropped, before it is taken", async () => {
  server.mode = "refuse";
  const seen = new Seen();
  await pass();
  process.out(OUT.slice(0, 40));
  const held: Head[] = [];
  const kept: (Uint8Array | undefined)[] = [];
  hub.desk.tap = (head, payload) => {
    held.push(head);
    kept.push(payload);
    return false;
  };
  await pump();
  assert.ok(held.length > 0);
  server.mode = "accept";
  await pass(30_001);
  await until(() => seen.out.length === 40, "the direct path has it");
  hub.trigger("msg:custom", { v: 1, m: held.map((head, b) => ({ ...head, b })) }, kept);
  process.out(OUT.slice(40));
  process.err(ERR);
  process.end(0);
  await until(() => seen.whole, "the end");
  complete(seen);
});

test("the websocket dies after every message there is: the comm goes on where the view is", async () => {
  for (let fatal = 0; ; fatal += 1) {
    clock.install();
    memory.failed = -Infinity;
    process = new FakeProcess("p");
    const processes = new Map([["p", process]]);
    hub = new FakeHub(processes);
    server = new Server(processes);
    const seen = new Seen();
    await pass();
    let count = 0;
    const socket = server.live as FakeSocket;
    socket.desk.tap = () => {
      if (count++ === fatal) queueMicrotask(() => socket.end(1006));
      return count <= fatal + 1;
    };
    writeAll();
    await until(() => seen.whole, `the end, dead at ${fatal}`);
    complete(seen);
    seen.channel.close();
    if (count <= fatal) {
      assert.ok(fatal > 10, "there were messages to die at");
      return;
    }
    assert.ok(seen.log.includes("comm"));
  }
});

test("each message of the comm is lost once: a gap is asked for again in `all`", async () => {
  for (let lost = 1; ; lost += 1) {
    process = new FakeProcess("p");
    hub = new FakeHub(new Map([["p", process]]));
    const seen = new Seen({ direct: null });
    await pass();
    let count = 1;
    hub.desk.tap = (head) => head.t === "opened" || count++ !== lost;
    process.out(OUT);
    process.err(ERR);
    // Something follows whatever was lost, as it does in a process that goes on.
    for (let i = 0; i < 40; i += 1) {
      await pump();
      await pass(10);
    }
    const more = "the end\n".repeat(3);
    process.out(more);
    process.err(more);
    process.end(0);
    for (let i = 0; i < 40 && !seen.whole; i += 1) {
      if (i === 20) seen.channel.reopen(); // the last message of all: nothing follows it, the reader's credit is due
      await pump();
      await pass(10);
    }
    assert.equal(seen.out, OUT + more, `lost ${lost}`);
    assert.equal(seen.text.get(2), ERR + more);
    assert.equal(seen.left, 0);
    seen.channel.close();
    if (count <= lost) {
      assert.ok(lost > 10);
      return;
    }
  }
});

test("in `tail` what was left out is told, not asked for", async () => {
  const seen = new Seen({ direct: null, openBody: () => ({ mode: "tail", window: 1000, keep: 100 }) });
  await pass();
  process.out("a".repeat(50));
  await pump();
  process.out("b".repeat(5000));
  process.end(0);
  await until(() => seen.log.includes("eof 1"), "the end");
  assert.equal(seen.out, "a".repeat(50) + "b".repeat(100));
  assert.equal(seen.left, 4900);
  assert.equal(seen.log.filter((each) => each === "again").length, 0);
});

test("an end that does not fit asks again also in `tail`", async () => {
  const seen = new Seen({ direct: null }, "tail", 1000);
  await pass();
  let lose = true;
  hub.desk.tap = (head) => head.t !== "data" || !lose;
  process.out("the last words");
  process.end(0);
  await pump();
  assert.deepEqual(seen.log.filter((each) => each.startsWith("eof")), ["eof 2"]);
  lose = false;
  await until(() => seen.whole, "the end");
  assert.equal(seen.out, "the last words");
  assert.equal(seen.left, 0);
});

test("the last message of all is lost: the end that is known asks for it", async () => {
  for (const mode of ["tail", "all"]) {
    process = new FakeProcess("p");
    hub = new FakeHub(new Map([["p", process]]));
    const seen = new Seen({ direct: null }, mode, 1000);
    await pass();
    process.out("all but ");
    await pump();
    process.out("the last");
    process.end(0);
    hub.desk.tap = () => false;
    await pump();
    hub.desk.tap = () => true;
    hub.desk.state(process);
    await pass(100);
    assert.equal(seen.out, "all but ");
    await until(() => seen.whole, "the end");
    assert.equal(seen.out, "all but the last");
    assert.equal(seen.left, 0);
    seen.channel.close();
  }
});

test("a page that goes away says so", async () => {
  const leave = new Set<(event: object) => void>();
  Object.assign(globalThis, {
    addEventListener: (type: string, act: (event: object) => void) => type === "pagehide" && leave.add(act),
    removeEventListener: (_: string, act: (event: object) => void) => leave.delete(act),
  });
  try {
    const seen = new Seen({ direct: null });
    await pass();
    for (const act of [...leave]) act({ persisted: true });
    await pass();
    assert.equal(hub.desk.open.size, 1, "a page that may come back stays");
    for (const act of [...leave]) act({ persisted: false });
    await pass();
    assert.equal(hub.desk.open.size, 0);
    assert.equal(leave.size, 0);
    seen.channel.close();
  } finally {
    Object.assign(globalThis, { addEventListener: undefined, removeEventListener: undefined });
  }
});

test("credit: a window ahead of what the view has dealt with, in few messages, never less than before", async () => {
  const seen = new Seen({ direct: null }, "all", 1000, false);
  await pass();
  process.out("x".repeat(5000));
  await pump();
  assert.equal(seen.out.length, 1000, "the window, and no more");
  await pump();
  assert.equal(seen.out.length, 1000);
  for (let at = 0; at <= 1000; at += 1) seen.channel.credit(1, at);
  seen.channel.credit(1, 10);
  await pass();
  await pump();
  assert.equal(seen.out.length, 2000);
  const given = hub.heads.filter((head) => head.t === "credit").map((head) => Number(head["upto"]));
  assert.deepEqual(given, [1250, 1500, 1750, 2000]);
});

test("a view closed as slow opens again when it has caught up", async () => {
  const seen = new Seen({ direct: null }, "all", 1000, false);
  await pass();
  process.out("x".repeat(1500));
  await pump();
  hub.desk.drop("slow");
  await pass(60_000);
  assert.equal(hub.desk.open.size, 0, "not while it has not");
  seen.channel.credit(1, 1000);
  await until(() => seen.out.length === 1500, "the rest");
  assert.equal(seen.left, 0);
});

test("a view at rest is sent nothing, and misses nothing", async () => {
  for (const direct of [null, TICKET]) {
    const seen = new Seen({ direct });
    await until(() => seen.log.includes("opened"), "opened");
    process.out("one ");
    await until(() => seen.out.endsWith("one "), "the first word");
    const before = seen.out.length;
    seen.channel.rest();
    await pass();
    process.out("two ");
    await pump();
    await pass(60_000);
    assert.equal(seen.out.length, before);
    assert.equal(hub.desk.open.size, 0);
    seen.channel.reopen();
    await until(() => seen.out.endsWith("one two "), "what it slept through");
    assert.equal(seen.left, 0);
    seen.channel.close();
  }
});

test("a view whose carrier died while it was at rest finds another", async () => {
  const seen = new Seen();
  await until(() => seen.log.includes("opened"), "opened");
  seen.channel.rest();
  server.live?.end(1006);
  process.out("late");
  await pass(60_000);
  assert.equal(seen.out, "");
  seen.channel.reopen();
  await until(() => seen.out === "late", "the comm's");
  seen.channel.close();
});

test("a view does not rest while input is on its way", async () => {
  process.acks = false;
  const seen = new Seen({ direct: null });
  await until(() => seen.log.includes("opened"), "opened");
  seen.channel.stdin(new TextEncoder().encode("typed"));
  await pass();
  seen.channel.rest();
  process.out("x");
  await until(() => seen.out === "x", "an answer");
});

test("a kernel without its link is asked again, more and more rarely", async () => {
  const seen = new Seen({ direct: null });
  await pass();
  process.out("before ");
  await pump();
  hub.desk.drop("link");
  process.out("after");
  await until(() => seen.out === "before after", "the rest");
});

test("gone is the end, and told; unknown to the kernel is asked of the agent first", async () => {
  const seen = new Seen({ direct: null });
  await pass();
  hub.desk.drop("gone", "The container was destroyed.");
  await pass();
  assert.deepEqual(seen.log, ["comm", "opened", "closed gone"]);
  seen.channel.send("signal", { signal: "TERM" });
  seen.channel.stdin(new Uint8Array([1]));
  assert.deepEqual(seen.errors, []);

  memory.failed = Date.now(); // the comm first
  const other = new Seen();
  hub.desk.processes.clear();
  await pass();
  assert.deepEqual(other.log, ["comm", "closed unknown"]);

  server.mode = "refuse";
  const processes = new Map([["p", process]]);
  server = new Server(processes);
  const third = new Seen();
  await pass();
  assert.equal(third.channel.carrier, "direct");
});

test("a kernel's restart: the direct path takes over, without it the view says so and asks nothing", async () => {
  memory.failed = Date.now();
  const seen = new Seen();
  const bare = new Seen({ direct: null });
  await pass();
  process.out(OUT.slice(0, 64));
  await pump();
  hub.die();
  await pass();
  assert.equal(seen.channel.carrier, "direct");
  assert.equal(bare.log.at(-1), "none");
  bare.channel.send("signal", { signal: "TERM" });
  bare.channel.stdin(new Uint8Array([1, 2]));
  assert.equal(bare.errors.length, 2);
  process.out(OUT.slice(64));
  process.err(ERR);
  process.end(0);
  await until(() => seen.whole, "the end");
  complete(seen);
  // The comm lives again: it was only the page that had lost it.
  hub.revive();
  await until(() => bare.whole, "the end, over the comm");
  complete(bare);
});

test("gone is told also where only the direct path is left to tell it", async () => {
  const seen = new Seen();
  await pass();
  hub.die();
  server.live?.desk.drop("gone", "The container was destroyed.");
  await pass();
  assert.deepEqual(seen.log, ["direct", "opened", "closed gone"]);
});

test("a comm that throws is dead", async () => {
  const seen = new Seen({ direct: null });
  await pass();
  hub.send = () => {
    throw new Error("Kernel is dead");
  };
  seen.channel.send("signal", { signal: "TERM" });
  await pass();
  assert.equal(seen.log.at(-1), "none");
});

/** The hub's model as JupyterLab has it: its manager knows the kernel's connection, beneath its comm is another. */
function lab(control: boolean): { said: any[]; disposed: number; comm: { isDisposed: boolean } } {
  const seen = { said: [] as any[], disposed: 0, comm: { isDisposed: false } };
  const kernel = {
    clientId: "page",
    username: "ann",
    sendControlMessage: (message: any, expectReply: boolean) => {
      assert.equal(expectReply, false);
      seen.said.push(message);
      for (const { b, ...head } of message.content.data.content.m) {
        hub.desk.received(head, b === undefined ? undefined : message.buffers[b]);
      }
      return { dispose: () => void (seen.disposed += 1) };
    },
  };
  Object.assign(hub, {
    model_id: "hub",
    get: (name: string) => name === "control" && control,
    comm: { jsServicesComm: seen.comm },
    widget_manager: { kernel },
  });
  return seen;
}

test("a kernel that listens there is spoken to over the control channel, with buffers", async () => {
  const { said } = lab(true);
  const seen = new Seen({ direct: null });
  process.out("hello");
  await until(() => seen.out === "hello", "output");
  seen.channel.stdin(new TextEncoder().encode("typed"));
  await until(() => process.typed === "typed", "input");
  assert.equal(hub.sent, 0, "nothing over the shell channel");
  const ids = new Set<string>();
  for (const message of said) {
    const { header, content, ...more } = message;
    ids.add(header.msg_id);
    assert.match(header.msg_id, /^[0-9a-f]{32}$/);
    assert.match(header.date, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    assert.deepEqual([header.msg_type, header.session, header.username], ["comm_msg", "page", "ann"]);
    assert.deepEqual([content.comm_id, content.data.method, content.data.content.v], ["hub", "custom", 1]);
    assert.deepEqual([more.channel, more.metadata, more.parent_header], ["control", {}, {}]);
  }
  assert.equal(ids.size, said.length);
  const { buffers } = said.find((each) => each.buffers.length > 0);
  assert.equal(buffers[0].byteLength, buffers[0].buffer.byteLength, "JupyterLab sends all that is beneath a view");
});

test("each message over the control channel is disposed of: nothing answers it", async () => {
  const page = lab(true);
  const seen = new Seen({ direct: null });
  await pass();
  seen.channel.send("signal", { signal: "TERM" });
  await pass();
  assert.ok(page.said.length >= 2);
  assert.equal(page.disposed, page.said.length);
});

test("the comm is used by a page that is not told to, or finds no control channel", async () => {
  for (const how of ["not told", "no connection", "no such method", "another front-end"]) {
    hub = new FakeHub(new Map([["p", process]]));
    const page = lab(how !== "not told");
    const model = hub as any;
    if (how === "no connection") model.widget_manager.kernel = null;
    if (how === "no such method") delete model.widget_manager.kernel.sendControlMessage;
    if (how === "another front-end") model.comm = {};
    const seen = new Seen({ direct: null });
    await pass();
    assert.deepEqual(seen.log, ["comm", "opened"], how);
    assert.deepEqual([page.said.length, hub.sent], [0, 1], how);
    seen.channel.close();
  }
});

test("with the control channel too a kernel that goes away is dead, and comes back", async () => {
  const page = lab(true);
  const seen = new Seen({ direct: null });
  await pass();
  page.comm.isDisposed = true; // JupyterLab does so when a kernel is restarted by itself; ipywidgets does not hear of it
  hub.comm_live = false;
  const before = page.said.length;
  seen.channel.send("signal", { signal: "TERM" });
  await pass();
  assert.equal(seen.log.at(-1), "none");
  assert.equal(page.said.length, before);
  page.comm.isDisposed = false;
  hub.revive();
  await pass();
  assert.deepEqual(seen.log.slice(-2), ["comm", "again"]);

  page.comm.isDisposed = true; // and the comm seems to live: its own send says that it does not
  hub.send = () => {
    throw new Error("Cannot send");
  };
  seen.channel.send("signal", { signal: "TERM" });
  await pass();
  assert.equal(seen.log.at(-1), "none");
});

test("neither kernel nor server: both come back, and nothing is lost", async () => {
  const seen = new Seen();
  await pass();
  process.out(OUT.slice(0, 64));
  await pump();
  server.mode = "refuse";
  hub.die();
  server.live?.end(1006);
  await pass();
  assert.equal(seen.log.at(-1), "none");
  process.out(OUT.slice(64));
  process.err(ERR);
  process.end(0);
  await pass(5000);
  server.mode = "accept";
  await until(() => seen.whole, "the end");
  complete(seen);
});

test("stdin: in order, in pieces, acknowledged, held back while too much is on the way", async () => {
  const seen = new Seen({ direct: null });
  seen.channel.stdin(new TextEncoder().encode("early ")); // before there is a carrier
  await pass();
  process.acks = false;
  const text = "0123456789".repeat(40_000);
  seen.channel.stdin(new TextEncoder().encode(text));
  seen.channel.send("eof");
  await pass();
  assert.ok(process.typed.length < 200_000, "held back");
  assert.equal(process.asked.length, 0, "its end comes after it");
  const { view } = seen.channel;
  process.acks = true;
  for (let seq = 1; seq < 10; seq += 1) hub.trigger("msg:custom", { v: 1, m: [{ t: "ack", view, seq }] }, []);
  await until(() => process.asked.length > 0, "all of it");
  assert.equal(process.typed, `early ${text}`);
  assert.deepEqual(process.asked.map((head) => head.t), ["eof"]);
});

test("stdin across a change: on the new carrier once the old one has acknowledged", async () => {
  server.mode = "refuse";
  const seen = new Seen();
  await pass();
  process.acks = false;
  seen.channel.stdin(new TextEncoder().encode("one "));
  await pass();
  server.mode = "accept";
  await pass(30_001);
  assert.equal(seen.channel.carrier, "direct");
  seen.channel.stdin(new TextEncoder().encode("two "));
  await pass();
  assert.equal(process.typed, "one ", "two waits");
  process.acks = true;
  hub.trigger("msg:custom", { v: 1, m: [{ t: "ack", view: seen.channel.view, seq: 1 }] }, []);
  await until(() => process.typed === "one two ", "two");
  assert.equal(hub.desk.open.size, 0);
  assert.deepEqual(seen.errors, []);
});

test("stdin on a carrier that dies is reported, never sent twice; what follows arrives", async () => {
  const seen = new Seen();
  await pass();
  process.acks = false;
  seen.channel.stdin(new TextEncoder().encode("rm "));
  await pass();
  server.live?.end(1006);
  await pass();
  assert.equal(seen.channel.carrier, "comm");
  process.acks = true;
  seen.channel.stdin(new TextEncoder().encode("next "));
  await until(() => process.typed === "rm next ", "next");
  assert.equal(seen.errors.length, 1);
  assert.match(seen.errors[0] as string, /^Cannot tell whether the last 3 bytes of input arrived/);
});

test("stdin that the desk refused is not on the way any more", async () => {
  const seen = new Seen({ direct: null });
  await pass();
  process.acks = false;
  seen.channel.stdin(new Uint8Array(8));
  await pass();
  const { view } = seen.channel;
  hub.trigger("msg:custom", { v: 1, m: [{ t: "error", view, seq: 1, text: "Cannot write: ended.", doing: "stdin" }] }, []);
  hub.desk.drop("gone");
  assert.deepEqual(seen.errors, ["Cannot write: ended."]);
});

test("heads for views that are not here, of another version or malformed, are ignored", async () => {
  const seen = new Seen({ direct: null });
  await pass();
  const { view } = seen.channel;
  const junk = [null, 3, {}, { t: "data" }, { t: "data", view: "0".repeat(32) }, { t: 4, view }, { t: "data", view },
    { t: "data", view, stream: 1, offset: 0, b: 7 }, { t: "tomorrow", view }, { view }];
  hub.trigger("msg:custom", { v: 1, m: junk }, []);
  hub.trigger("msg:custom", { v: 2, m: [{ t: "closed", view, reason: "gone" }] }, []);
  for (const content of [null, 7, {}, { v: 1 }, { v: 1, m: 3 }]) hub.trigger("msg:custom", content, undefined);
  process.out("fine");
  await pump();
  assert.equal(seen.out, "fine");
});

test("all views of a page share one listener, and one turn's words one message", async () => {
  let listeners = 0;
  const on = hub.on.bind(hub);
  hub.on = (event, callback) => {
    if (event === "msg:custom") listeners += 1;
    on(event, callback);
  };
  const seen = Array.from({ length: 8 }, () => new Seen({ direct: null }));
  await pass();
  assert.equal(listeners, 1);
  assert.equal(hub.sent, 1);
  assert.equal(hub.desk.open.size, 8);
  for (const each of seen) each.channel.close();
  await pass();
  assert.equal(hub.desk.open.size, 0);
  assert.equal(hub.sent, 2);
});

test("after close nothing is said, and the socket is closed", async () => {
  const seen = new Seen();
  await pass();
  const socket = server.live as FakeSocket;
  seen.channel.close();
  assert.equal(socket.readyState, 3);
  process.out("more");
  await pump();
  await pass(60_000);
  assert.equal(seen.out, "");
  assert.equal(server.sockets.length, 1);
  seen.channel.send("destroy");
  seen.channel.credit(1, 5);
  seen.channel.reopen();
});

test("rows come as numbers, wherever they lie in their buffer", async () => {
  const rows: [number, number, number[]][] = [];
  const channel = connect({
    hub,
    subject: "p",
    openBody: () => ({}),
    handlers: { rows: (from, columns, values) => rows.push([from, columns, [...values]]) },
  });
  await pass();
  const bytes = new Uint8Array(8 * 4 + 3);
  const view = new DataView(bytes.buffer, 3);
  [1, 2.5, 3, -1].forEach((value, i) => view.setFloat64(8 * i, value, true));
  hub.trigger("msg:custom", { v: 1, m: [{ t: "rows", view: channel.view, from: 7, columns: 2, b: 0 }] }, [view]);
  assert.deepEqual(rows, [[7, 2, [1, 2.5, 3, -1]]]);
});
