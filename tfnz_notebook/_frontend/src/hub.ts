// The page's end of the view protocol (VIEWS.md): one channel a view, over whichever carrier works. What a view sees of
// it; how it is done is in channel/connection.ts.
import type { HubModel, Ticket } from "./channel/carriers.js";
import { Connection } from "./channel/connection.js";
import { type Head, newId as newView } from "./channel/frames.js";
import type { FromView } from "./protocol.js";

export { newView };
export type { Head, HubModel, Ticket };
export type CarrierKind = "direct" | "comm" | "none";
/** What a view may say besides what the channel says for it. */
export type Said = Exclude<keyof FromView, "hello" | "open" | "close" | "credit" | "stdin" | "eof">;

/** One stream in `opened`: bytes from `from` on will come; those below `head` were written before. */
export interface StreamStart {
  stream: number;
  from: number;
  head: number;
}

export interface Handlers {
  /** The subject's state, and where its streams begin; `again`: not the first time, the view goes on where it is.
   * `order`: of what was written before, [stream, offset] of each change from one stream to the other. */
  opened?(info: any, streams: StreamStart[], again: boolean, order: [stream: number, offset: number][]): void;
  /** The next bytes of a stream; `left` bytes between them and the ones before were left out (0: none). */
  data?(stream: number, offset: number, bytes: Uint8Array, left: number): void;
  /** Nothing follows on this stream. Told once. `left` as for data. */
  eof?(stream: number, offset: number, left: number): void;
  state?(info: any): void;
  /** Rows of a plot, row-major; `from` is the number of the first. */
  rows?(from: number, columns: number, values: Float64Array): void;
  /** Something asked for failed; for people. The view goes on. */
  error?(text: string, doing: string): void;
  /** The subject is not there (any more): nothing follows. */
  closed?(reason: string, text: string): void;
  /** The carrier has changed. "none": neither kernel nor server can be reached; retried where that makes sense. */
  carrier?(kind: CarrierKind): void;
}

export interface ConnectOptions {
  hub: HubModel;
  subject: string;
  direct?: Ticket | null;
  /** The fields of `open`: mode, keep, window, rows, columns... `from` is added here once bytes have come. */
  openBody(): Omit<FromView["open"], "subject">;
  handlers: Handlers;
}

/** One view of one subject. Everything is safe to call at any time, also after `close`. */
export interface Channel {
  readonly view: string;
  readonly carrier: CarrierKind;
  /** Nothing comes any more until `reopen`: nobody looks. Not while input is on its way. */
  rest(): void;
  /** Opens anew on the current carrier, from where the view is. */
  reopen(): void;
  /** A ticket for the direct path, of a process that came after its view. */
  offer(ticket: Ticket): void;
  /** signal, destroy, resize, do; kept for a moment while a carrier is being opened. */
  send<T extends Said>(t: T, fields?: FromView[T]): void;
  /** Input, in order, once, in pieces the agent takes: over whichever carrier there is. */
  stdin(bytes: Uint8Array): void;
  /** Its end, after the input before it. */
  end(): void;
  /** The view has dealt with a stream's bytes up to this offset: lets `window` more come (default: as before). Cheap. */
  credit(stream: number, upto: number, window?: number): void;
  close(): void;
}

export function connect(options: ConnectOptions): Channel {
  return new Connection(options);
}
