// Stdin over carriers that come and go.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Seen, hub, pass, process, server, until } from "./stage.js";

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
  assert.match(seen.errors[0] as string, /^Cannot tell whether the last 3 B of input arrived/);
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
