import assert from "node:assert/strict";
import { test } from "node:test";
import { Window } from "happy-dom";
import { Keeper } from "../src/page.js";
import { VERSION } from "../src/protocol.js";
import type { Seen } from "../src/still.js";
import { Clock } from "./time.js";

type Data = Record<string, unknown>;

globalThis.document = new Window().document as never;

const VIEW = "application/vnd.jupyter.widget-view+json";
const KEY = "k".repeat(32);
const twin = (said: string): Record<string, string> => ({
  "text/plain": said,
  "text/html": `<style>x</style><div class="mathjax_ignore tfnz-static-${KEY}" style="margin:0"><pre>${said}</pre></div>`,
});
/** That it asks before it saves: the kernel need not keep twins up to date. */
const BEGINS = { v: VERSION, keep: [], number: 0 };
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

/** A cell's outputs as JupyterLab's model has them. */
class Outputs {
  constructor(readonly list: Data[]) {}
  get length(): number {
    return this.list.length;
  }
  get(index: number) {
    return { toJSON: () => ({ data: this.list[index]! }) };
  }
  set(index: number, value: unknown): void {
    this.list[index] = (value as { data: Data }).data;
  }
}

/** A page of one notebook: a picture, a kernel that answers, and its save. */
function page({ answers = true, collaborative = false } = {}) {
  const outputs = new Outputs([{ "text/plain": "", [VIEW]: { model_id: "m" } }, twin("old")]);
  const listeners: ((...given: any[]) => void)[] = [];
  const said: any[] = [];
  const slots: ((sender: unknown, state: string) => void)[] = [];
  const files: string[] = [];
  const context = {
    model: { cells: [{}, { outputs }], collaborative },
    save: async () => {
      for (const slot of slots) slot(null, "started");
      files.push(JSON.stringify(outputs.list));
    },
    saveState: { connect: (slot: (sender: unknown, state: string) => void) => slots.push(slot) },
  };
  const hub = {
    comm_live: true,
    get: (name: string) => (name === "stills" ? { frame: "{inside}", lines: "<pre>{blocks}</pre>" } : undefined),
    widget_manager: { context },
    send: (content: any) => {
      said.push(content);
      if (answers) queueMicrotask(() => hear({ v: VERSION, kept: content.number }));
    },
    on: (event: string, callback: (...given: any[]) => void) => event === "msg:custom" && listeners.push(callback),
  };
  const hear = (content: unknown): void => listeners.forEach((each) => each(content));
  const changed: (() => void)[] = [];
  const model = {
    still: null as unknown,
    get: (name: string) => (name === "options" ? { key: KEY } : name === "still" ? model.still : undefined),
    on: (_event: string, callback: () => void) => void changed.push(callback),
    off: () => undefined,
  };
  return { outputs, context, hub, said, files, model, hear, keeper: new Keeper(hub as never) };
}

const view = (said: string, current = true): Seen => ({
  current: () => current,
  take: () => ({
    rows: [{ spans: [{ text: said, style: {} }] }],
    above: 0, tall: 20, title: "sh", called: "sh in box", state: "ok", words: "exit 0", facts: "8 B",
  }),
});

test("what is over is put in the view's place in a page that heard of no update", async (t) => {
  const clock = new Clock();
  clock.install();
  t.after(() => clock.restore());
  const { outputs, model, keeper, said, context } = page();
  model.still = { model: "m", twin: { "text/plain": "", "text/html": "" }, data: { "text/plain": "the end" } };
  keeper.keep(model);
  clock.tick(1000);
  assert.deepEqual(outputs.list, [{ "text/plain": "the end" }, { "text/plain": "", "text/html": "" }]);
  await context.save();
  assert.deepEqual(said, [BEGINS], "the kernel has told all there is");
});

test("a save at once after the end has it too", async () => {
  const { files, model, keeper, context } = page();
  keeper.keep(model);
  model.still = { model: "m", twin: { "text/plain": "", "text/html": "" }, data: { "text/plain": "the end" } };
  await context.save();
  assert.match(files[0]!, /the end/);
  assert.doesNotMatch(files[0]!, /old/);
});

test("a save has what a view shows, and asks nobody", async () => {
  const { outputs, said, model, keeper, context } = page();
  keeper.keep(model);
  keeper.seen(model, view("seen just now"));
  await context.save();
  const saved = { ...twin("seen just now\n"), "text/plain": "seen just now\n[sh in box · exit 0 · 8 B]" };
  assert.deepEqual(outputs.list[1], saved);
  assert.ok(VIEW in outputs.list[0]!);
  assert.deepEqual(said, [BEGINS]);
});

test("the kernel is asked for what no view shows, and the save waits for it", async () => {
  const { files, said, model, keeper, context, hear } = page({ answers: false });
  keeper.keep(model);
  keeper.seen(model, view("out of sight", false));
  const saved = context.save();
  await turn();
  assert.deepEqual(said, [BEGINS, { v: VERSION, keep: [KEY], number: 1 }]);
  assert.deepEqual(files, []);
  model.still = { model: "m", twin: twin("from the kernel"), data: null };
  hear({ v: VERSION, kept: 1 });
  await saved;
  assert.match(files[0]!, /from the kernel/);
});

test("a kernel that is gone, or says nothing, holds up no save", async (t) => {
  const { files, hub, model, keeper, context } = page({ answers: false });
  keeper.keep(model);
  hub.comm_live = false;
  await context.save();
  hub.comm_live = true;
  const clock = new Clock();
  clock.install();
  t.after(() => clock.restore());
  const saved = context.save();
  await Promise.resolve();
  clock.tick(5000);
  await saved;
  assert.equal(files.length, 2);
  assert.match(files[1]!, /old/);
});

test("two kernels of a notebook, one after the other, and one save", async () => {
  const { said, files, hub, model, context, keeper } = page();
  keeper.keep(model);
  new Keeper(hub as never);
  await context.save();
  assert.equal(files.length, 1);
  assert.deepEqual(said, [BEGINS, BEGINS, { v: VERSION, keep: [KEY], number: 1 }]);
});

test("a page whose file others write does not say that it asks", () => {
  assert.deepEqual(page({ collaborative: true }).said, []);
});
