// The comm of the hub model, over the shell channel or the control channel.
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../../src/hub.js";
import { VERSION } from "../../src/protocol.js";
import { ERR, FakeSocket, OUT, Seen, anew, complete, hub, pass, process, pump, server, until } from "./stage.js";

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
    assert.deepEqual([content.comm_id, content.data.method, content.data.content.v], ["hub", "custom", VERSION]);
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
    anew();
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

test("heads for views that are not here, of another version or malformed, are ignored", async () => {
  const seen = new Seen({ direct: null });
  await pass();
  const { view } = seen.channel;
  const junk = [null, 3, {}, { t: "data" }, { t: "data", view: "0".repeat(32) }, { t: 4, view }, { t: "data", view },
    { t: "data", view, stream: 1, offset: 0, b: 7 }, { t: "tomorrow", view }, { view }];
  hub.trigger("msg:custom", { v: VERSION, m: junk }, []);
  hub.trigger("msg:custom", { v: VERSION + 1, m: [{ t: "closed", view, reason: "gone" }] }, []);
  for (const content of [null, 7, {}, { v: VERSION }, { v: VERSION, m: 3 }]) hub.trigger("msg:custom", content, undefined);
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
  hub.trigger("msg:custom", { v: VERSION, m: [{ t: "rows", view: channel.view, from: 7, columns: 2, b: 0 }] }, [view]);
  assert.deepEqual(rows, [[7, 2, [1, 2.5, 3, -1]]]);
});
