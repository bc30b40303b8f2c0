// What a drawing may ask of its view, and where its links lead.
import { type Through, baseUrl, through } from "../through.js";
import type { Said } from "./info.js";

/** Given to every drawing. */
export interface Desk {
  /** Asks for something, for those; it is pending for each until it was done, or failed. */
  act(action: string, args?: Record<string, unknown>, ids?: readonly string[]): void;
  /** Whether this was asked for, and has not been done yet. */
  pending(action: string, id?: string): boolean;
  /** Whether what a process wrote is shown. */
  open(process: string): boolean;
  /** Shows what it wrote, or not any more. */
  show(process: string, on: boolean): void;
  /** What it wrote last; undefined: not told yet. */
  said(process: string): Said | undefined;
  /** Whether somebody points at the view or has its focus, so that nothing should move. */
  held(): boolean;
  /** Seconds since the epoch at the kernel's side. */
  now(): number;
  /** Draws again what was told last. */
  redraw(): void;
  /** Nothing can be asked for now. */
  readonly lost: boolean;
}

/** One kind of `info`, drawn. */
export interface Drawing<T> {
  /** What goes into the bar: its title, and its controls at the right. */
  title: HTMLElement[];
  actions: HTMLElement[];
  body: HTMLElement[];
  update(info: T): void;
  /** For the dot (running, starting, ok, bad, paused, lost), in words, and what those mean where it is not plain. */
  state(info: T): { dot: string; text: string; hint?: string };
}

/** Whether this browser reaches the kernel's own ports, as far as the page's address tells. */
export const near = (page: Location = location): boolean => LOOPBACK.test(page.hostname) || baseUrl() === null;

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

/** Where a tunnel's port is for this browser. */
export interface Address {
  url: string;
  /** A page of the Jupyter server's, in a sandbox: cookies and storage of its own it has none. */
  sandboxed: boolean;
  /** Through the Jupyter server's proxy, and so of the notebook's own origin. */
  proxied: boolean;
}

/**
 * Browsers send a host's cookies to all its ports. So that a container's server gets none of the notebook's, it is asked
 * for by the other name that this machine has. Elsewhere this machine cannot be reached but through the Jupyter server.
 */
export function address(local: number, path: string, page: Location = location, to?: Through | null): Address {
  const shown = through(to, path, page);
  if (shown !== null) return { url: shown, sandboxed: true, proxied: false };
  const port = Math.trunc(local);
  const rest = path.replace(/^\/+/, "");
  if (near(page)) {
    const host = page.hostname.startsWith("127.") ? "localhost" : "127.0.0.1";
    return { url: `http://${host}:${port}/${rest}`, sandboxed: false, proxied: false };
  }
  return { url: `${page.origin}${baseUrl()}proxy/${port}/${rest}`, sandboxed: false, proxied: true };
}
