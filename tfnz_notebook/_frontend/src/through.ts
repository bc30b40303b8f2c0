// A container's port as a page of the Jupyter server, where that has our extension (direct/proxy.py).
// The page is in a sandbox there: it is of the server's address, but has neither its origin nor its cookies.

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
  const base = baseUrl();
  if (!told().tfnzViews || !to || base === null) return null;
  const parts = [to.agent, to.container, Math.trunc(to.port), to.ticket].map((each) => encodeURIComponent(each));
  return `${page.origin}${base}tfnz/port/${parts.join("/")}?to=${encodeURIComponent(`/${path.replace(/^\/+/, "")}`)}`;
}
