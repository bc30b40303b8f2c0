// Made by `python -m tfnz_notebook._wire.view`. Do not edit.

export const VERSION = 2;
export const MAX_MESSAGE = 1048576;
export const MAX_HEAD = 65536;
export const MAX_DATA = 65536;
export const INPUT = 131072;
export const PATIENCE = 10.0;

export interface FromView {
  hello: { version: number; agent: string; process: string; ticket: string };
  open: { subject: string; mode?: string; window?: number; keep?: number; from?: Record<string, unknown>; rows?: number; columns?: number };
  close: object;
  credit: { stream: number; upto: number };
  stdin: { offset: number };
  eof: { offset: number };
  signal: { signal: string; tree?: boolean };
  destroy: object;
  resize: { rows: number; columns: number };
  do: { action: string; args?: Record<string, unknown> };
}

export type ToView = "opened" | "data" | "eof" | "state" | "rows" | "ack" | "error" | "closed";
export type Reason = "gone" | "slow" | "link" | "unknown";
