// Stdin over carriers that come and go: each byte once, in order, or the user is told.
import assert from "node:assert/strict";
import { test } from "node:test";
import { size } from "../../src/text/numbers.js";
import type { Head } from "../../src/channel/frames.js";
import { INPUT, VERSION } from "../../src/protocol.js";
import { FakeSocket, Seen, anew, clock, hub, pass, process, server, turns, until } from "./stage.js";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const TEXT = "0123456789".repeat(40_000);

/** What the kernel's desk says now, though it said nothing before. */
function says(head: Head): void {
  hub.trigger("msg:custom", { v: VERSION, m: [head] }, []);
}

test("stdin: in order, in pieces, acknowledged, held back while too much is on the way", async () => {
  const seen = new Seen({ direct: null });
  seen.channel.stdin(encode("early ")); // before there is a carrier
  await pass();
  process.acks = false;
  seen.channel.stdin(encode(TEXT));
  seen.channel.end();
  await pass();
  const sent = process.typed.length - 6;
  assert.ok(sent <= INPUT && sent > INPUT / 2, "held back");
  const { view } = seen.channel;
  says({ t: "ack", view, upto: 6 + 32 * 1024 });
  await pass();
  assert.equal(process.typed.length, 6 + sent + 32 * 1024, "as much as was answered");
  assert.equal(process.asked.length, 0, "its end comes after it");
  process.acks = true;
  says({ t: "ack", view, upto: process.typed.length });
  await until(() => process.asked.length > 0, "all of it");
  assert.equal(process.typed, `early ${TEXT}`);
  assert.deepEqual(process.asked, [{ t: "eof", view, offset: 6 + TEXT.length }]);
});

test("stdin across a change: what has no answer is said again on the new carrier, and written once", async () => {
  server.mode = "refuse";
  const seen = new Seen();
  await pass();
  process.acks = false;
  seen.channel.stdin(encode("one "));
  await pass();
  server.mode = "accept";
  await pass(30_001);
  assert.equal(seen.channel.carrier, "direct");
  assert.equal(hub.desk.open.size, 0, "nothing keeps the old one open");
  seen.channel.stdin(encode("two "));
  process.acks = true;
  seen.channel.stdin(encode("three "));
  await pass();
  assert.equal(process.typed, "one two three ");
  says({ t: "ack", view: seen.channel.view, upto: 4 }); // over the comm, too late
  await pass();
  assert.deepEqual(seen.errors, []);
});

test("a carrier dies after every message there is: all that is typed arrives, once, in order", async () => {
  for (const lost of [false, true]) {
    for (let fatal = 0; ; fatal += 1) {
      clock.install();
      anew();
      const seen = new Seen();
      await pass();
      let count = 0;
      const socket = server.live as FakeSocket;
      const { received } = socket.desk;
      const dies = (): void => queueMicrotask(() => socket.end(1006));
      socket.desk.received = (head, payload) => {
        if (head.t === "stdin" || head.t === "eof") {
          if (count++ === fatal) dies();
          if (lost && count > fatal) return; // did it arrive? the page cannot know
        }
        received.call(socket.desk, head, payload);
      };
      socket.desk.tap = (head) => head.t !== "ack" || (count++ === fatal ? (dies(), false) : count <= fatal);
      for (const word of ["cd /tmp\n", "rm -r x\n", TEXT.slice(0, 100_000), "exit\n"]) seen.channel.stdin(encode(word));
      seen.channel.end();
      await until(() => process.asked.some((head) => head.t === "eof"), `the end, dead at ${fatal}`);
      assert.equal(process.typed, `cd /tmp\nrm -r x\n${TEXT.slice(0, 100_000)}exit\n`);
      assert.deepEqual(seen.errors, []);
      seen.channel.close();
      if (count <= fatal) {
        assert.ok(fatal > 10, "there were messages to die at");
        break;
      }
    }
  }
});

test("opened again on the same carrier: answers of before were not heard", async () => {
  const seen = new Seen({ direct: null });
  await pass();
  process.acks = false;
  seen.channel.stdin(encode("ls\n"));
  await pass();
  process.acks = true;
  hub.desk.drop("slow");
  await until(() => hub.desk.open.size > 0, "opened again");
  seen.channel.end();
  await until(() => process.asked.length > 0, "the end");
  assert.equal(process.typed, "ls\n");
});

test("an end that has no answer is said again", async () => {
  const seen = new Seen();
  await pass();
  process.acks = false;
  seen.channel.end();
  await pass();
  server.live?.end(1006);
  await pass();
  process.acks = true;
  assert.deepEqual(process.asked.map(({ t, offset }) => [t, offset]), [["eof", 0], ["eof", 0]]);
  hub.desk.drop("slow");
  await until(() => hub.desk.open.size > 0, "opened again");
  await until(() => process.asked.length === 3, "not answered yet");
  hub.desk.drop("slow");
  await until(() => hub.desk.open.size > 0, "opened once more");
  await pass(1000);
  assert.equal(process.asked.length, 3, "answered");
});

test("the only carrier is gone for a moment: what was typed waits for it", async () => {
  hub.die();
  const seen = new Seen();
  await pass();
  process.acks = false;
  seen.channel.stdin(encode("one "));
  await pass();
  server.live?.end(1006);
  await pass();
  assert.equal(seen.channel.carrier, "none");
  process.acks = true;
  await until(() => seen.channel.carrier === "direct", "back again");
  seen.channel.stdin(encode("two "));
  await pass();
  assert.equal(process.typed, "one two ");
  assert.deepEqual(seen.errors, []);
});

test("no carrier is left: it is told what may have arrived and what has not, and none of it comes later", async () => {
  const seen = new Seen({ direct: null });
  await pass();
  process.acks = false;
  seen.channel.stdin(encode(TEXT));
  seen.channel.end();
  await pass();
  const sent = process.typed.length;
  hub.die();
  await pass();
  assert.deepEqual(seen.errors, [
    `Cannot tell whether the last ${size(sent)} of input arrived: the connection broke. Look before you type again.`,
    `Cannot send ${size(TEXT.length - sent)} of input: neither the kernel nor the Jupyter server answers.`,
    "Cannot send the end of input: neither the kernel nor the Jupyter server answers.",
  ]);
  hub.revive();
  await pass();
  process.acks = true;
  seen.channel.stdin(encode("look"));
  await pass();
  assert.equal(process.typed, `${TEXT.slice(0, sent)}look`);
});

test("a direct path that stays away is not waited for", async () => {
  hub.die();
  const seen = new Seen();
  await pass();
  process.acks = false;
  seen.channel.stdin(encode("one"));
  await pass();
  server.mode = "refuse";
  server.live?.end(1006);
  await pass(5000);
  assert.equal(seen.errors.length, 1);
  assert.match(seen.errors[0] as string, /^Cannot tell whether the last 3 B of input arrived/);
});

test("stdin that the desk refused is not on the way any more, nor said again", async () => {
  server.mode = "refuse";
  const seen = new Seen();
  await pass();
  process.acks = false;
  for (const word of ["one ", "two ", "three "]) seen.channel.stdin(encode(word));
  await pass();
  const { view } = seen.channel;
  says({ t: "error", view, offset: 4, text: "Cannot write: no.", doing: "stdin" });
  says({ t: "error", view, offset: 1, text: "of none", doing: "stdin" });
  const again: unknown[] = [];
  server.mode = "accept";
  await pass(30_001);
  await turns();
  const socket = server.live as FakeSocket;
  const { received } = socket.desk;
  socket.desk.received = (head, payload) => {
    if (head.t === "stdin") again.push(head["offset"]);
    received.call(socket.desk, head, payload);
  };
  process.acks = true;
  seen.channel.reopen();
  await pass();
  assert.deepEqual(again, [0, 8]);
  assert.deepEqual(seen.errors, ["Cannot write: no.", "of none"]);
  socket.desk.drop("gone");
  hub.desk.drop("gone");
  assert.equal(seen.errors.length, 2, "all of it had its answer");
});

test("answers that cannot be are as none", async () => {
  const seen = new Seen({ direct: null });
  await pass();
  process.acks = false;
  seen.channel.stdin(encode("typed"));
  await pass();
  const { view } = seen.channel;
  for (const upto of [-1, 1e300, NaN, "x", null, 3]) says({ t: "ack", view, upto });
  says({ t: "data", view, stream: 1, offset: -5, b: 0 });
  process.acks = true;
  seen.channel.stdin(encode(" more"));
  await pass();
  assert.equal(process.typed, "typed more");
});
