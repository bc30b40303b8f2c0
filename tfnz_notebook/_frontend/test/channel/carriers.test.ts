// Two carriers, and the change between them: each byte is seen once, in order.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Head } from "../../src/channel/frames.js";
import { VERSION } from "../../src/protocol.js";
import { ERR, FakeSocket, OUT, Seen, TICKET, anew, clock, complete, hub, memory, pass, process, pump, server, until, writeAll } from "./stage.js";

test("the direct path is taken first, with the page's base URL, token and ticket", async () => {
  const seen = new Seen();
  await pass();
  assert.equal(server.sockets[0]?.url, "wss://hub.example/user/ann/tfnz/views?token=t%26k");
  assert.deepEqual(server.sockets[0]?.hello, { t: "hello", version: VERSION, ...TICKET });
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
  hub.trigger("msg:custom", { v: VERSION, m: held.map((head, b) => ({ ...head, b })) }, kept);
  process.out(OUT.slice(40));
  process.err(ERR);
  process.end(0);
  await until(() => seen.whole, "the end");
  complete(seen);
});

test("the websocket dies after every message there is: the comm goes on where the view is", async () => {
  for (let fatal = 0; ; fatal += 1) {
    clock.install();
    anew();
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
    anew();
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
    anew();
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
