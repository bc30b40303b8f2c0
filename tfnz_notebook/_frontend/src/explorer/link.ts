// A link to a tunnel, safe to click on.
import { element, set } from "../look/status.js";
import type { Through } from "../through.js";
import { address } from "./desk.js";

export class Link {
  readonly el = element("a", "tfnz-link");

  constructor() {
    this.el.target = "_blank";
    // The notebook's own address may hold its token.
    this.el.rel = "noopener noreferrer";
    this.el.referrerPolicy = "no-referrer";
  }

  point(local: number, path: string, text: string, to?: Through | null): void {
    const { url, sandboxed, proxied } = address(local, path, location, to);
    if (this.el.href !== url) this.el.href = url;
    if (sandboxed) {
      const name = `localhost:${to?.port}/${path.replace(/^\/+/, "")}`;
      set(this.el, text || name, `Open ${name} of the container, through the Jupyter server and in a sandbox`);
      return;
    }
    const by = proxied ? " through the Jupyter server (needs jupyter-server-proxy there)" : "";
    set(this.el, text || url, `Open ${url}${by}`);
  }
}
