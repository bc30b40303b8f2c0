// A container's ports as links: through a tunnel that is there, or one that a click opens.
import { element, set } from "../look/status.js";
import { over } from "./controls.js";
import { type Desk, address } from "./desk.js";
import type { Container, Tunnel } from "./info.js";
import { Link } from "./link.js";
import { type Row, Rows, label } from "./parts.js";

/** A port, and its tunnels. */
type Port = { port: number; tunnel?: Tunnel };

export class Ports {
  readonly el = element("span", "tfnz-fact tfnz-ports");
  readonly #links = element("span", "tfnz-links");
  readonly #open: Rows<Port>;
  /** Those that were clicked and have no tunnel yet. */
  readonly #wanted = new Set<number>();
  readonly #desk: Desk;

  constructor(desk: Desk) {
    this.#desk = desk;
    this.el.append(element("span", "tfnz-name", "ports"), this.#links);
    this.#open = new Rows(this.#links, key, (each) => (each.tunnel ? portLink() : this.#opener()));
  }

  update(told: Container): void {
    const had = new Set(told.tunnels.map((each) => each.port));
    const more = over(told) ? [] : told.ports.filter((each) => !had.has(each)).map((port) => ({ port }));
    const all: Port[] = [...told.tunnels.map((tunnel) => ({ port: tunnel.port, tunnel })), ...more];
    this.#open.update(all);
    this.el.hidden = all.length === 0;
    for (const { port, local } of told.tunnels) {
      if (this.#wanted.delete(port)) window.open(address(local, "").url, "_blank", "noopener,noreferrer");
    }
  }

  #opener(): Row<Port> {
    const el = element("button", "tfnz-link");
    el.type = "button";
    let port = 0;
    el.addEventListener("click", () => {
      this.#wanted.add(port);
      this.#desk.act("open", { port }, [String(port)]);
    });
    return {
      el,
      update: (each) => {
        port = each.port;
        set(el, String(port));
        label(el, `Open port ${port} through a tunnel`);
        el.disabled = this.#desk.lost || this.#desk.pending("open", String(port));
      },
    };
  }
}

const key = (each: Port): string => (each.tunnel ? `tunnel ${each.tunnel.local}` : String(each.port));

export function portLink(): Row<Port> {
  const link = new Link();
  return { el: link.el, update: ({ port, tunnel }) => link.point(tunnel?.local ?? 0, "", `${port} → ${tunnel?.local}`, tunnel?.through) };
}
