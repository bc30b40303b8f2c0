// Credit: the conversations that Python and the guest have, too.
import assert from "node:assert/strict";
import { test } from "node:test";
import conversations from "../../../../tests/unit/wire/window.json";
import { Fault, Receiver, Sender } from "../../src/channel/window.js";

interface Step {
  do: any[];
  then?: any[];
  fault?: boolean;
  [expected: string]: unknown;
}

function hear(receiver: Receiver, [name, ...values]: any[]): object {
  if (name === "arrived") {
    const { bytes, left } = receiver.arrived(values[0], new Uint8Array(values[1]));
    return { new: bytes.length, left };
  }
  if (name === "skip") return { left: receiver.skip(values[0]) };
  if (name === "acknowledge") return { says: receiver.acknowledge(values[0]) };
  if (name === "renew") {
    receiver.renew(values[0] ?? undefined);
    return { granted: receiver.granted };
  }
  if (name === "take") receiver.take(values[0]);
  else receiver.takeTo(values[0]);
  return { grant: receiver.grant() };
}

function say(sender: Sender, events: any[][]): object {
  const told: Record<string, unknown> = {};
  for (const [name, ...values] of events) {
    const answer = (sender as any)[name](...values);
    if (name === "skip") told["left"] = answer;
  }
  const size = sender.ready;
  return { ...told, sends: size > 0 ? [sender.send(size), size] : null };
}

for (const talk of conversations) {
  if (talk.half === "relay") continue; // a page is none
  test(talk.name, () => {
    const { half, ...options } = talk;
    const one = half === "receiver" ? new Receiver(options as object) : new Sender(options as object);
    for (const { do: event, then, ...expected } of talk.steps as Step[]) {
      const events = then ? [event, then] : [event];
      const act = (): object => (one instanceof Receiver ? hear(one, event) : say(one, events));
      if (expected.fault) {
        const before = { ...one };
        assert.throws(act, Fault);
        assert.deepEqual({ ...one }, before);
      } else {
        assert.deepEqual(act(), expected, JSON.stringify(event));
      }
    }
  });
}

test("what is new are the last bytes", () => {
  const receiver = new Receiver({ window: 100 });
  const text = (offset: number, sent: string): [string, number] => {
    const { bytes, left } = receiver.arrived(offset, new TextEncoder().encode(sent));
    return [new TextDecoder().decode(bytes), left];
  };
  assert.deepEqual(text(0, "abcdef"), ["abcdef", 0]);
  assert.deepEqual(text(3, "defgh"), ["gh", 0]);
  assert.deepEqual(text(20, "xyz"), ["xyz", 12]);
});

test("what is no number is a fault", () => {
  assert.throws(() => new Receiver({ window: 10 }).arrived(NaN, new Uint8Array(1)), Fault);
  assert.throws(() => new Sender().allow(NaN), Fault);
  assert.throws(() => new Sender().acknowledge(NaN), Fault);
});
