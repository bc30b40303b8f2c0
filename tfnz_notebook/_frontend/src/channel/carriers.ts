// The two ways to a desk: the comm of the hub model (shared by all views of a page), a websocket of the view's own.
// Both carry heads and payloads and know nothing of what they mean; hub.ts does.
import { type Head, newId, pack, unpack } from "./frames.js";
import { VERSION } from "../protocol.js";

/** What hub.ts is told by a line. After `dead` nothing follows. */
export interface Ends {
  ready(): void;
  message(head: Head, payload: Uint8Array | undefined): void;
  /** `refused`: trying again with the same ticket is in vain. */
  dead(refused: boolean): void;
}

export interface Line {
  readonly kind: "comm" | "direct";
  send(head: Head, payload?: Uint8Array): void;
  close(): void;
}

/** The part of an ipywidgets WidgetModel that is used here. */
export interface HubModel {
  send(content: unknown, callbacks?: unknown, buffers?: ArrayBufferView[] | ArrayBuffer[]): void;
  on(event: string, callback: (...args: any[]) => void): unknown;
  off?(event: string, callback?: (...args: any[]) => void): unknown;
  comm_live?: boolean;
  get?(name: string): unknown;
  model_id?: string;
  /** JupyterLab's and Notebook's, beneath what ipywidgets makes of them. */
  comm?: { jsServicesComm?: { isDisposed: boolean } };
  widget_manager?: { kernel?: Kernel | null };
  [extra: symbol]: unknown;
}

/** The part of JupyterLab's IKernelConnection that is used here. */
export interface Kernel {
  clientId: string;
  username: string;
  sendControlMessage?(message: unknown, expectReply: boolean): { dispose(): void };
}

export interface Ticket {
  agent: string;
  process: string;
  ticket: string;
}

// --- the comm ----------------------------------------------------------------------------------------------------------

/** What a page keeps on the hub model. Bundles bring their own copy of this code: the shape is a contract among them. */
interface Switchboard {
  views: Map<string, Ends>;
  outbox: [Head, Uint8Array | undefined][];
  alive: boolean;
  /** Called when a dead comm lives again (the kernel was there all the while). */
  woken: Set<() => void>;
}

const BOARD = Symbol.for("tfnz.hub");

function board(model: HubModel): Switchboard {
  const there = model[BOARD] as Switchboard | undefined;
  if (there) return there;
  const made: Switchboard = {
    views: new Map(),
    outbox: [],
    alive: model.comm_live !== false,
    woken: new Set(),
  };
  model[BOARD] = made;
  model.on("msg:custom", (content: unknown, buffers: unknown) => heard(made, content, buffers));
  model.on("comm:close", () => died(made));
  model.on("destroy", () => died(made));
  model.on("comm_live_update", () => {
    if (model.comm_live === false) died(made);
    else if (!made.alive) {
      made.alive = true;
      for (const wake of [...made.woken]) wake();
    }
  });
  return made;
}

function died(made: Switchboard): void {
  if (!made.alive) return;
  made.alive = false;
  made.outbox.length = 0;
  const ends = [...made.views.values()];
  made.views.clear();
  for (const end of ends) end.dead(false);
}

function heard(made: Switchboard, content: unknown, buffers: unknown): void {
  const { v, m } = (content ?? {}) as { v?: unknown; m?: unknown };
  if (v !== VERSION || !Array.isArray(m)) return;
  const parts = Array.isArray(buffers) ? (buffers as (DataView | ArrayBuffer)[]) : [];
  for (const head of m as Head[]) {
    const end = typeof head?.view === "string" ? made.views.get(head.view) : undefined;
    if (!end || typeof head.t !== "string") continue; // another page's view
    const part = typeof head["b"] === "number" ? parts[head["b"]] : undefined;
    end.message(head, part && bytes(part));
  }
}

function bytes(part: DataView | ArrayBuffer): Uint8Array {
  return ArrayBuffer.isView(part)
    ? new Uint8Array(part.buffer, part.byteOffset, part.byteLength)
    : new Uint8Array(part);
}

/** Over the control channel where the kernel listens there, for it would not hear us in a cell (widgets/channel/control.py). */
export function transmit(model: HubModel, content: unknown, buffers: Uint8Array[]): void {
  const kernel = model.widget_manager?.kernel;
  // A comm that is disposed of throws in model.send: its kernel is gone, or is another one by now.
  if (!model.get?.("control") || !kernel?.sendControlMessage || model.comm?.jsServicesComm?.isDisposed !== false) {
    model.send(content, {}, buffers);
    return;
  }
  const header = {
    msg_id: newId(),
    msg_type: "comm_msg",
    session: kernel.clientId,
    username: kernel.username,
    date: new Date().toISOString(),
    version: "5.3",
  };
  const data = { method: "custom", content };
  const message = {
    header, buffers, channel: "control", content: { comm_id: model.model_id, data }, metadata: {}, parent_header: {},
  };
  // Nothing answers, not even with a status, that JupyterLab would wait for.
  kernel.sendControlMessage(message, false).dispose();
}

/** All that was said in one turn of the page's loop goes as one comm message. */
function post(model: HubModel, made: Switchboard, head: Head, payload: Uint8Array | undefined): void {
  made.outbox.push([head, payload]);
  if (made.outbox.length > 1) return;
  queueMicrotask(() => {
    const waiting = made.outbox.splice(0);
    if (waiting.length === 0) return;
    const buffers: Uint8Array[] = [];
    const m = waiting.map(([said, part]) => (part ? { ...said, b: buffers.push(part) - 1 } : said));
    try {
      if (model.comm_live === false) throw new Error("the comm is closed");
      transmit(model, { v: VERSION, m }, buffers);
    } catch {
      died(made); // the kernel was restarted, or its connection disposed of
    }
  });
}

export function openComm(model: HubModel, view: string, ends: Ends): Line | null {
  const made = board(model);
  if (model.comm_live === false) died(made);
  if (!made.alive) return null;
  made.views.set(view, ends);
  return {
    kind: "comm",
    send: (head, payload) => {
      if (made.alive) post(model, made, head, payload);
    },
    close: () => {
      if (made.views.get(view) === ends) made.views.delete(view);
    },
  };
}

/** Calls `wake` whenever the comm lives again; returns what ends that. */
export function onWake(model: HubModel, wake: () => void): () => void {
  const { woken } = board(model);
  woken.add(wake);
  return () => void woken.delete(wake);
}

// --- the websocket -----------------------------------------------------------------------------------------------------

const CONNECT_MS = 1000;
const REFUSED = 4403;

/** Where this page's Jupyter server listens for views, or null where it does not say so (without our extension, VS Code). */
export function viewsUrl(): string | null {
  let config: { baseUrl?: string; wsUrl?: string; token?: string; tfnzViews?: unknown };
  try {
    config = JSON.parse(document.getElementById("jupyter-config-data")?.textContent ?? "null") ?? {};
  } catch {
    return null;
  }
  if (typeof config.baseUrl !== "string" || !config.tfnzViews) return null;
  const base = new URL(config.wsUrl || config.baseUrl, document.baseURI);
  base.protocol = base.protocol.replace("http", "ws");
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  const url = new URL("tfnz/views", base);
  if (config.token) url.searchParams.set("token", config.token);
  return url.href;
}

export function openDirect(ticket: Ticket, ends: Ends): Line | null {
  const url = viewsUrl();
  if (url === null || typeof WebSocket === "undefined") return null;
  let over = false;
  let socket: WebSocket;
  try {
    socket = new WebSocket(url);
  } catch {
    return null;
  }
  const end = (refused: boolean): void => {
    if (over) return;
    over = true;
    clearTimeout(patience);
    socket.close();
    ends.dead(refused);
  };
  const patience = setTimeout(() => end(false), CONNECT_MS);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    if (over) return;
    clearTimeout(patience);
    socket.send(pack({ t: "hello", version: VERSION, ...ticket }));
    ends.ready();
  };
  socket.onmessage = ({ data }: MessageEvent) => {
    if (over) return;
    let head: Head;
    let payload: Uint8Array;
    try {
      [head, payload] = unpack(data as ArrayBuffer);
    } catch {
      end(false);
      return;
    }
    ends.message(head, payload);
  };
  socket.onerror = () => end(false);
  socket.onclose = ({ code }: CloseEvent) => end(code === REFUSED);
  return {
    kind: "direct",
    send: (head, payload) => {
      if (!over && socket.readyState === WebSocket.OPEN) socket.send(pack(head, payload));
    },
    close: () => {
      over = true;
      clearTimeout(patience);
      socket.close();
    },
  };
}
