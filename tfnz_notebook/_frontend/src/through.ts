// A container's port as a page of the Jupyter server, where that has our extension (direct/proxy.py).
// The page is in a sandbox there: it is of the server's address, but has neither its origin nor its cookies.
import type { Ticket } from "./channel/carriers.js";

/** What opens it: told by the kernel, good for this port alone. */
export interface Through {
  agent: string;
  container: string;
  port: number;
  ticket: string;
}

/** What the page's server says of itself; nothing, where pages are not its own (VS Code, Colab). */
function told(): { baseUrl?: unknown; tfnzViews?: unknown } {
  try {
    return (JSON.parse(document.getElementById("jupyter-config-data")?.textContent ?? "{}") as object | null) ?? {};
  } catch {
    return {};
  }
}

/** The path of the page's server, with a slash at both ends; null where the page does not say. */
export function baseUrl(): string | null {
  const { baseUrl: base } = told();
  return typeof base === "string" ? `/${base.replace(/^\/+|\/+$/g, "")}/`.replace("//", "/") : null;
}

/** Where the port is a page of the server, if that has our extension. */
export function through(to: Through | null | undefined, path: string, page: Location = location): string | null {
  return to ? at("port", [to.agent, to.container, Math.trunc(to.port), to.ticket], path, page) : null;
}

/** Addresses that mean the machine of who wrote them. */
const THERE = /^(localhost|127(\.\d+){3}|0\.0\.0\.0|\[::1?\])$/;

/** Where an address leads that a process wrote: if it means the process's own machine, to the page of that port. */
export function written(address: string, by: Ticket | null | undefined, page: Location = location): string {
  const { protocol, hostname, port, pathname, search, hash } = new URL(address);
  if (!by || protocol !== "http:" || !THERE.test(hostname)) return address;
  const found = at("written", [by.agent, by.process, port || 80, by.ticket], pathname + search, page);
  return found === null ? address : found + hash;
}

function at(kind: string, parts: (string | number)[], path: string, page: Location): string | null {
  const base = baseUrl();
  if (!told().tfnzViews || base === null) return null;
  const where = parts.map((each) => encodeURIComponent(each)).join("/");
  return `${page.origin}${base}tfnz/${kind}/${where}?to=${encodeURIComponent(`/${path.replace(/^\/+/, "")}`)}`;
}
