// Credit, rest, and ends: what a view is sent, and what it is told when nothing more will come.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ERR, OUT, Seen, TICKET, complete, hub, memory, pass, process, pump, serve, server, until } from "./stage.js";

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
  serve();
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
