// Cards and tables: drawn of what they are told, in the page's own elements, and inert whatever a container is called.
import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { Window } from "happy-dom";
import { VERSION } from "../src/protocol.js";

const window = new Window({ url: "http://127.0.0.1:8888/lab" });
for (const name of ["document", "Node", "HTMLElement", "MutationObserver", "Element", "CustomEvent", "location"]) {
  Object.assign(globalThis, { [name]: (window as any)[name] });
}

/** Everything is seen until a test says otherwise. */
let seen: ((visible: boolean) => void) | undefined;
Object.assign(globalThis, {
  IntersectionObserver: class {
    constructor(told: (entries: { isIntersecting: boolean }[]) => void) {
      seen = (isIntersecting) => told([{ isIntersecting }]);
    }
    observe(): void {}
    disconnect(): void {}
  },
});

const { render } = await import("../src/explorer.js");
const { address } = await import("../src/explorer/desk.js");
const { written } = await import("../src/through.js");
const { Rows } = await import("../src/explorer/parts.js");
const { kept } = await import("../src/explorer/tables/table.js");

const EVIL = '<img src=x onerror="alert(1)"><script>alert(2)</script>';

const process = (id: string, more: object = {}): object => ({
  id, text: `command ${id}`, pid: 12, tty: false, returncode: null, started: 1, main: false, why: "", ...more,
});
const container = (id: string, more: object = {}): any => ({
  id, engine_id: `${id}123`, engine_name: id, title: id, name: id, tag: "", image: "nginx", node: "first", ip: "", state: "running", returncode: null, created: 940,
  pull: null, error: "", log: "", usage: null, ports: [], tunnels: [], processes: [process("main", { main: true, pid: 7 })], more: 0, ...more,
});
const usage = (cpu: number, more: object = {}): object => ({
  cpu, memory: 1 << 20, limit: 1 << 28, pids: 2, read: 0, written: 0, received: 0, sent: 0, cpus: [1, cpu], memories: [1], ...more,
});
const base = { where: "podman", connected: true, now: 1000 };
const card = (more: object = {}): any => ({ ...base, kind: "container", engine: "podman", ...container("web", more) });
const ps = (...containers: object[]): any => ({ ...base, kind: "ps", session: "s", containers, more: 0 });
const top = (...containers: object[]): any => ({ ...base, kind: "top", session: "s", containers, more: 0 });

/** A kernel's hub, and one view of it in the page. */
class Page {
  readonly said: any[] = [];
  readonly el = document.createElement("div");
  comm_live = true;
  private handlers = new Map<string, (...args: any[]) => void>();
  readonly end: () => void;

  constructor(kind: string, info?: object) {
    document.body.replaceChildren(this.el);
    const values: Record<string, unknown> = { subject: "s/1", options: { shows: kind, key: "k1", info } };
    this.end = render({ model: { get: (name) => values[name] }, hub: this as never, el: this.el });
  }

  send({ m }: { m: any[] }): void {
    this.said.push(...m);
  }

  on(event: string, act: (...args: any[]) => void): void {
    this.handlers.set(event, act);
  }

  emit(event: string, ...args: unknown[]): void {
    this.handlers.get(event)?.(...args);
  }

  async tell(t: string, fields: object): Promise<void> {
    await turn();
    const open = this.said.filter((head) => head.t === "open").at(-1);
    this.emit("msg:custom", { v: VERSION, m: [{ t, view: open.view, ...fields }] }, []);
    await turn();
  }

  /** What was asked for since the last time. */
  async asked(): Promise<any[]> {
    await turn();
    return this.said.filter((head) => head.t === "do").map(({ action, args }) => [action, args]);
  }

  find(selector: string): HTMLElement {
    const found = this.el.querySelector(selector);
    assert.ok(found, selector);
    return found as HTMLElement;
  }

  all(selector: string): HTMLElement[] {
    return [...this.el.querySelectorAll(selector)] as HTMLElement[];
  }

  button(label: string): HTMLButtonElement {
    const found = this.all("button").find((each) => (each.getAttribute("aria-label") ?? each.textContent ?? "").startsWith(label));
    assert.ok(found, `a button ${label}`);
    return found as HTMLButtonElement;
  }

  get text(): string {
    return this.el.textContent ?? "";
  }
}

const turn = (): Promise<void> => new Promise((done) => setImmediate(done));

let page: Page;
async function show(info: any): Promise<Page> {
  page = new Page(info.kind);
  await page.tell("opened", { streams: [], info });
  return page;
}

beforeEach(() => page?.end());

// --- what is drawn -----------------------------------------------------------------------------------------------------

test("a card shows what it was told and changes only what has changed", async () => {
  await show(card({ usage: usage(2.5) }));
  for (const part of ["running", "web", "up 1 min 00 s", "2.5 %", "1 MiB of 256 MiB", "command main", "first"])
    assert.ok(page.text.includes(part), `${part} in ${page.text}`);
  const row = page.find("tr.tfnz-row");
  await page.tell("state", { info: card({ processes: [process("main", { main: true, returncode: 3 }), process("two")] }) });
  assert.equal(page.find("tr.tfnz-row"), row);
  assert.equal(page.all("tr.tfnz-row").length, 2);
  assert.ok(row.textContent?.includes("exit 3"));
});

test("a pull is a progress bar, and one without an end while that is not known", async () => {
  await show(card({ state: "pulling", pull: { text: "layer 1", done: 1 << 20, total: 4 << 20 } }));
  const progress = page.find("progress") as HTMLProgressElement;
  assert.equal(progress.getAttribute("value"), String(1 << 20));
  assert.ok(page.text.includes("1 MiB of 4 MiB · layer 1"));
  await page.tell("state", { info: card({ state: "pulling", pull: { text: "", done: 0, total: 0 } }) });
  assert.equal(progress.getAttribute("value"), null);
  await page.tell("state", { info: card() });
  assert.ok(page.find(".tfnz-pull").hidden);
});

test("a failure shows its cause, an exit its last words", async () => {
  await show(card({ state: "failed", error: "Cannot find image: not here. Pull it.", log: "words", processes: [] }));
  assert.ok(page.text.includes("Pull it."));
  assert.ok(!page.find(".tfnz-trouble").hidden);
  await page.tell("state", { info: card({ state: "exited", returncode: 4, log: "no such config" }) });
  assert.ok(page.text.includes("exit 4") && page.text.includes("no such config"));
});

test("one that is paused or does not answer looks so", async () => {
  await show(card({ state: "paused", usage: null }));
  assert.ok(page.text.includes("paused"));
  assert.equal(page.find(".tfnz-status").dataset.state, "paused");
  await page.tell("state", { info: card({ state: "unresponsive", usage: null }) });
  assert.ok(page.text.includes("unresponsive"));
  assert.equal(page.find(".tfnz-status").dataset.state, "lost");
});

for (const kind of ["container", "ps", "top", "location", "node", "tunnel"]) {
  test(`what a container is called is text: ${kind}`, async () => {
    const names = { title: EVIL, name: EVIL, tag: EVIL, image: EVIL, node: EVIL, ip: EVIL, error: EVIL, log: EVIL };
    const bad = container("bad", { ...names, processes: [process("p", { text: EVIL, why: EVIL })] });
    const node = { name: EVIL, cpus: 2, cpu_free: 1, memory: 2, memory_free: 1, containers: 1, labels: { [EVIL]: EVIL } };
    const infos: Record<string, object> = {
      container: { ...card(), ...bad, state: "exited", returncode: 1 },
      ps: ps(bad),
      top: top(bad),
      location: { ...base, where: EVIL, engine: EVIL, version: EVIL, about: {}, session: EVIL, durable: false, nodes: [node], containers: [bad], more: 0 },
      node: { ...base, node },
      tunnel: { ...base, port: 80, local: 4000, url: EVIL, path: "", container: EVIL, image: EVIL, state: "running", open: true, connections: 0, listening: false, preview: true },
    };
    await show({ ...infos[kind], kind });
    assert.ok(page.text.includes("<script>alert(2)</script>"));
    assert.equal(page.all("img, script, [onerror]").length, 0);
  });
}

// --- what is done ------------------------------------------------------------------------------------------------------

test("to destroy takes a second click, and can be called off", async () => {
  await show(card());
  page.button("Destroy web").click();
  assert.deepEqual(await page.asked(), []);
  assert.ok(page.text.includes("Destroy web?"));
  page.button("Do not destroy").click();
  assert.ok(page.find(".tfnz-sure").hidden);
  page.button("Destroy web").click();
  const event = new (window as any).KeyboardEvent("keydown", { key: "Escape", bubbles: true });
  page.find(".tfnz-danger").dispatchEvent(event);
  assert.ok(page.find(".tfnz-sure").hidden);
  page.button("Destroy web").click();
  page.find(".tfnz-danger").click();
  assert.deepEqual(await page.asked(), [["destroy", { containers: ["web"] }]]);
  assert.ok(page.button("Destroy web").disabled);
});

test("what can be done is in its place from the first frame on, dim while it cannot be done", async () => {
  page = new Page("container", card({ state: "creating", processes: [], engine_id: "" }));
  const controls = ["Show the end", "Pause", "Stop", "Destroy web"];
  const buttons = controls.map((each) => page.button(each));
  const dim = (): string => buttons.map((each) => (each.disabled ? "-" : "x")).join("");
  assert.equal(dim(), "---x");
  for (const [state, expected] of [["running", "xxxx"], ["paused", "xx-x"], ["unresponsive", "x--x"], ["exited", "x--x"], ["destroyed", "x---"]]) {
    await page.tell("opened", { streams: [], info: card({ state }) });
    assert.equal(dim(), expected, state);
    assert.ok(buttons.every((each) => each.isConnected && !each.hidden && each.style.visibility === ""));
  }
  await page.tell("state", { info: card({ state: "paused" }) });
  page.button("Resume web").click();
  assert.deepEqual(await page.asked(), [["unpause", { containers: ["web"] }]]);
  assert.ok(page.button("Resume web").disabled);
  await page.tell("done", { doing: "unpause", args: { containers: ["web"] } });
  await page.tell("state", { info: card() });
  assert.ok(!page.button("Pause web").disabled);
});

test("an error is shown, and what was asked for can be asked for again", async () => {
  await show(card({ processes: [process("two")] }));
  page.button("Stop command two").click();
  const args = { container: "web", process: "two" };
  assert.deepEqual(await page.asked(), [["process.stop", args]]);
  assert.ok(page.button("Stop command two").disabled && page.text.includes("stopping…"));
  assert.ok(!page.button("Kill command two").disabled);
  await page.tell("error", { doing: "process.stop", args, text: `Cannot stop ${EVIL}: no.` });
  assert.ok(page.text.includes(EVIL) && !page.find("[role=alert]").hidden);
  assert.ok(!page.button("Stop command two").disabled);
  page.button("Close this message").click();
  assert.ok(page.find("[role=alert]").hidden);
});

test("a row expands to what its process wrote, and is asked for again after a new opening", async () => {
  await show(card({ processes: [process("main", { id: "web", main: true }), process("two")] }));
  const row = page.find("[aria-expanded]");
  row.click();
  await page.tell("tails", { tails: { web: [[1, "hello"], [2, EVIL]] } });
  assert.equal(page.find(".tfnz-said .tfnz-log").textContent, `hello\n${EVIL}\n`);
  assert.equal(page.find(".tfnz-err").textContent, `${EVIL}\n`);
  assert.equal(page.button("Show the end").getAttribute("aria-pressed"), "true");
  await page.tell("opened", { streams: [], info: card({ processes: [process("main", { id: "web", main: true })] }) });
  const tail = ["tail", { process: "web", on: true }];
  assert.deepEqual(await page.asked(), [tail, tail]);
  page.button("Show the end").click();
  assert.equal(page.all(".tfnz-said").length, 0);
});

test("a container that was destroyed keeps what it showed", async () => {
  await show(card({ state: "destroyed", usage: usage(3), processes: [process("web", { why: "gone" }), process("two", { returncode: 1 })] }));
  for (const part of ["destroyed", "3 %", "command web", "ended", "exit 1"]) assert.ok(page.text.includes(part), part);
  assert.ok(page.all("tbody button:not(.tfnz-open)").every((each) => (each as HTMLButtonElement).disabled));
});

test("a port that nobody has a tunnel to is opened by a click, and then a link", async () => {
  const opened: string[] = [];
  Object.assign(globalThis, { window: { open: (url: string, _: string, features: string) => opened.push(`${url} ${features}`) } });
  await show(card({ ports: [80, 443] }));
  page.button("Open port 80").click();
  assert.deepEqual(await page.asked(), [["open", { port: 80 }]]);
  await page.tell("state", { info: card({ ports: [80, 443], tunnels: [{ port: 80, local: 4000, url: "" }] }) });
  assert.deepEqual(opened, ["http://localhost:4000/ noopener,noreferrer"]);
  assert.equal(page.find("a").textContent, "80 → 4000");
  assert.ok(page.button("Open port 443"));
});

test("nothing can be asked for once the kernel is gone, and the view says how to reattach", async () => {
  await show(card());
  page.comm_live = false;
  page.emit("comm_live_update");
  await turn();
  assert.ok(page.text.includes("not connected") && page.text.includes("%tf_attach"));
  assert.ok(page.button("Destroy web").disabled && page.button("Show the end").disabled);
  page.comm_live = true;
  page.emit("comm_live_update");
  await page.tell("opened", { streams: [], info: card() });
  assert.ok(!page.text.includes("not connected") && !page.button("Destroy web").disabled);
});

test("what the kernel does not know any more says so", async () => {
  page = new Page("container");
  await page.tell("closed", { reason: "unknown", text: "The kernel does not know it any more." });
  assert.ok(page.text.includes("not connected") && page.text.includes("does not know it"));
});

test("a view that was dropped opens again; out of sight it is closed", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    await show(card());
    await page.tell("closed", { reason: "slow", text: "" });
    mock.timers.tick(300);
    await turn();
    assert.equal(page.said.filter((head) => head.t === "open").length, 2);
    seen?.(false);
    mock.timers.tick(2000);
    seen?.(true);
    mock.timers.tick(2000);
    await turn();
    assert.ok(!page.said.some((head) => head.t === "close"));
    seen?.(false);
    mock.timers.tick(4000);
    await turn();
    assert.equal(page.said.at(-1).t, "close");
    seen?.(true);
    await turn();
    assert.equal(page.said.at(-1).t, "open");
  } finally {
    mock.timers.reset();
  }
});

// --- rows --------------------------------------------------------------------------------------------------------------

test("rows keep their elements, and their order", () => {
  const parent = document.createElement("div");
  const make = (name: string): { el: HTMLElement; update(): void } => {
    const el = document.createElement("p");
    el.textContent = name;
    return { el, update: () => undefined };
  };
  const rows = new Rows<string>(parent, (name) => name, make);
  const shown = (): string => [...parent.children].map((el) => el.textContent).join(" ");
  rows.update(["a", "b", "c"]);
  const b = parent.children[1];
  rows.update(["c", "b", "a", "d"]);
  assert.equal(shown(), "c b a d");
  rows.update(["a", "b", "e"]);
  assert.equal(shown(), "a b e");
  assert.equal(parent.children[1], b);
});

test("while somebody points at a table its rows stay where they are", () => {
  const lines = (names: string): any[] => [...names].map((key) => ({ key, height: 1, item: 0, loose: key === "x" }));
  const shown = (before: string, now: string): string => kept(lines(before), lines(now)).map((line) => line.key + (line.gone ? "!" : "")).join("");
  assert.equal(shown("cba", "bde"), "c!bdea!");
  assert.equal(shown("abc", "cba"), "abc");
  assert.equal(shown("", "ab"), "ab");
  assert.equal(shown("axb", "ab"), "ab");
  assert.equal(shown("ab", "zab"), "zab");
});

test("usage is sorted by the column that is clicked: down, up, as it was", async () => {
  const lines = [container("b", { usage: usage(1) }), container("a", { usage: usage(50) }), container("c", { usage: null })];
  await show(top(...lines));
  const order = (): string => page.all("tr.tfnz-row").map((row) => row.firstElementChild?.textContent).join("");
  const cpu = page.button("Sort by CPU");
  for (const expected of ["bac", "abc", "cba", "bac"]) {
    assert.equal(order(), expected);
    cpu.click();
  }
  assert.equal(page.find("th[aria-sort]").getAttribute("aria-sort"), "descending");
  page.button("Sort by container").click();
  assert.equal(order(), "abc");
});

test("of two hundred containers those are in the page that are seen; all can be found, chosen and destroyed", async () => {
  const many = Array.from({ length: 200 }, (_, i) => container(`box-${i}`, { processes: [process(`p${i}`)] }));
  await show(ps(...many));
  assert.ok(page.all("tr.tfnz-row").length < 40);
  assert.equal(page.find("table").getAttribute("aria-rowcount"), "401");
  const scroller = page.find(".tfnz-scroller");
  scroller.scrollTop = 200 * 24;
  scroller.dispatchEvent(new (window as any).Event("scroll"));
  assert.ok(page.text.includes("box-100") && !page.text.includes("box-10 ") && page.all("tr.tfnz-row").length < 50);

  const type = (text: string): void => {
    (page.find(".tfnz-filter") as HTMLInputElement).value = text;
    page.find(".tfnz-filter").dispatchEvent(new (window as any).Event("input"));
  };
  type("box-19 command");
  assert.equal(page.all(".tfnz-container").length, 11);
  type("p7");
  assert.deepEqual(page.all(".tfnz-row").map((row) => row.textContent?.match(/box-\d+|p\d+/)?.[0]).slice(0, 2), ["box-7", "p7"]);
  type("BOX-19");
  const all = page.find("thead input") as HTMLInputElement;
  all.click();
  assert.ok(page.text.includes("11 chosen"));
  (page.find(".tfnz-container input") as HTMLInputElement).click();
  assert.ok(page.text.includes("10 chosen") && all.indeterminate);
  type("");
  page.button("Destroy 10 containers").click();
  assert.ok(page.text.includes("Destroy 10 containers?"));
  page.find(".tfnz-danger").click();
  const chosen = Array.from({ length: 10 }, (_, i) => `box-${190 + i}`);
  assert.deepEqual(await page.asked(), [["destroy", { containers: chosen }]]);
});

test("of containers that are as they were their ids are told", async () => {
  await show(ps(container("a"), container("b")));
  await page.tell("state", { info: ps("b" as never, container("c")) });
  assert.deepEqual(page.all(".tfnz-container .tfnz-c-name").map((each) => each.textContent), ["b", "c"]);
});

// --- tunnels -----------------------------------------------------------------------------------------------------------

const tunnel = (more: object = {}): any => ({
  ...base, kind: "tunnel", port: 80, local: 4000, url: "http://127.0.0.1:4000/x", path: "x", container: "web", image: "nginx",
  state: "running", open: true, connections: 0, listening: true, preview: true, ...more,
});

test("a preview has no way to the notebook: another host's name, a sandbox, no referrer", async () => {
  await show(tunnel({ listening: false }));
  assert.equal(page.all("iframe").length, 0);
  await page.tell("state", { info: tunnel() });
  const frame = page.find("iframe") as HTMLIFrameElement;
  assert.equal(frame.getAttribute("src"), "http://localhost:4000/x");
  assert.deepEqual(frame.getAttribute("sandbox")?.split(" ").sort(), ["allow-forms", "allow-same-origin", "allow-scripts"]);
  const link = page.find("a") as HTMLAnchorElement;
  assert.equal(link.rel, "noopener noreferrer");
  await page.tell("state", { info: tunnel({ connections: 2 }) });
  assert.equal(page.find("iframe"), frame);
  page.button("Close").click();
  assert.deepEqual(await page.asked(), [["close", {}]]);
  await page.tell("state", { info: tunnel({ open: false }) });
  assert.equal(page.all("iframe").length, 0);
});

test("where this machine is not the browser's, links go through the Jupyter server", () => {
  const at = (href: string): Location => new URL(href) as unknown as Location;
  assert.equal(address(4000, "/x", at("http://127.0.0.1:8888/lab")).url, "http://localhost:4000/x");
  assert.equal(address(4000, "", at("http://localhost:8888/lab")).url, "http://127.0.0.1:4000/");
  const config = document.createElement("script");
  config.id = "jupyter-config-data";
  config.textContent = JSON.stringify({ baseUrl: "/user/me/" });
  document.head.append(config);
  const far = address(4000, "x", at("https://hub.example/user/me/lab"));
  assert.deepEqual(far, { url: "https://hub.example/user/me/proxy/4000/x", sandboxed: false, proxied: true });
  config.textContent = JSON.stringify({ baseUrl: "//evil.example/" });
  assert.equal(address(4000, "", at("https://hub.example/lab")).url, "https://hub.example/evil.example/proxy/4000/");
  config.remove();
  assert.equal(address(4000, "", at("https://code.example/")).proxied, false);
});

test("where the server shows ports, a link leads there, and the port itself stays within reach", () => {
  const config = document.createElement("script");
  config.id = "jupyter-config-data";
  document.head.append(config);
  const at = (href: string): Location => new URL(href) as unknown as Location;
  const to = { agent: "podman", container: "c".repeat(32), port: 80, ticket: "t".repeat(64) };
  config.textContent = JSON.stringify({ baseUrl: "/" });
  assert.equal(address(4000, "x", at("http://localhost:8888/lab"), to).sandboxed, false);
  config.textContent = JSON.stringify({ baseUrl: "/user/a%40b/", tfnzViews: true });
  const where = `tfnz/port/podman/${to.container}/80/${to.ticket}?to=%2Fx%3Fy%3D1%26z`;
  assert.deepEqual(address(4000, "/x?y=1&z", at("https://hub.example/user/a%40b/lab"), to), {
    url: `https://hub.example/user/a%40b/${where}`,
    sandboxed: true,
    proxied: false,
  });
  assert.equal(address(4000, "x", at("http://localhost:8888/lab")).url, "http://127.0.0.1:4000/x");
  const by = { agent: "podman", process: "p".repeat(32), ticket: "v".repeat(64) };
  const here = at("https://hub.example/user/a%40b/lab");
  for (const [said, port, rest] of [
    ["http://localhost:8000/a?b=1#c", 8000, "?to=%2Fa%3Fb%3D1#c"],
    ["http://0.0.0.0:8000/", 8000, "?to=%2F"],
    ["http://[::]:8000", 8000, "?to=%2F"],
    ["http://127.0.0.1/x", 80, "?to=%2Fx"],
  ] as const) {
    const found = `https://hub.example/user/a%40b/tfnz/written/podman/${by.process}/${port}/${by.ticket}${rest}`;
    assert.equal(written(said, by, here), found);
    assert.equal(written(said, null, here), said);
  }
  for (const other of ["https://localhost:8000/", "http://localhost.example:8000/", "http://10.0.0.1/"])
    assert.equal(written(other, by, here), other);
  config.remove();
});
