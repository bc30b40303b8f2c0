// Cards of containers and where they run, the tables of %tf_ps and %tf_top, the preview of %tf_open.
//
// All of them are told one `info` and drawn anew from it where it differs. The kernel works for a view only while that is
// open, so it is open only while somebody can see it.
import { tick } from "./look/clock.js";
import { Card } from "./explorer/cards/card.js";
import type { Desk, Drawing } from "./explorer/desk.js";
import css from "./explorer/explorer.css";
import type { Info, Said, Summary } from "./explorer/info.js";
import { LocationCard, NodeCard } from "./explorer/cards/places.js";
import { Ps } from "./explorer/tables/ps.js";
import { Top } from "./explorer/tables/top.js";
import { TunnelCard } from "./explorer/cards/tunnel.js";
import type { HubModel } from "./channel/carriers.js";
import { Talk } from "./explorer/talk.js";
import { button, element, set } from "./look/status.js";
import { replaceTwin, themed, useStyle } from "./look/theme.js";

/** Milliseconds out of sight after which a view closes. */
const UNSEEN = 3_000;
/** Milliseconds that something asked for may take before it can be asked for again. */
const PENDING = 60_000;
const LOST = "not connected";
const ATTACH =
  "The kernel was restarted or has ended: this is what was last known. Containers of a named session are still there, " +
  "%tf_attach finds them again.";

interface Model {
  get(name: string): any;
}

const DRAWINGS: Record<Info["kind"], new (desk: Desk) => Drawing<any>> = {
  container: Card,
  ps: Ps,
  top: Top,
  location: LocationCard,
  node: NodeCard,
  tunnel: TunnelCard,
};

class Explorer implements Desk {
  readonly #bar = element("div", "tfnz-status");
  readonly #word = element("span", "tfnz-state");
  readonly #actions = element("div", "tfnz-actions");
  readonly #alert = element("div", "tfnz-alert");
  readonly #said = element("span", "");
  readonly #body = element("div", "tfnz-body");
  readonly #asked = new Map<string, number>();
  readonly #shown = new Set<string>();
  readonly #tails = new Map<string, Said>();
  #talk: Talk | undefined;
  #drawing: Drawing<any> | undefined;
  #info: Info | undefined;
  #heardAt = 0;
  #reached = true;
  #gone = "";
  #why = "";
  #lostAt = 0;
  readonly #hub: HubModel;
  readonly #root: HTMLElement;
  readonly #signal: AbortSignal;
  readonly #subject: string;
  readonly #taken: () => void;
  #hiding: ReturnType<typeof setTimeout> | undefined;
  readonly #tick = (): void => this.redraw();

  constructor(
    model: Model,
    hub: HubModel,
    root: HTMLElement,
    signal: AbortSignal,
  ) {
    this.#hub = hub;
    this.#root = root;
    this.#signal = signal;
    this.#subject = String(model.get("subject"));
    useStyle("explorer", css);
    themed(root, signal);
    root.classList.add("tfnz-explorer");
    this.#taken = replaceTwin(root, model.get("options")?.key, signal);
    this.#bar.append(element("span", "tfnz-dot"), this.#word);
    this.#word.setAttribute("role", "status"); // read out when it changes
    this.#alert.setAttribute("role", "alert");
    this.#alert.hidden = true;
    this.#alert.append(this.#said, button("kill", "Close this message", () => this.#say("")));
    root.append(this.#bar, this.#body, this.#alert); // beneath: it moves nothing
    const { shows, info } = (model.get("options") ?? {}) as { shows?: string; info?: Info };
    this.#begin(String(shows ?? ""));
    if (info) this.#tell(info);
    this.#look();
    // Keys for buttons are not the notebook's: Enter would run the cell.
    root.addEventListener("keydown", (event) => {
      if ((event.key === "Enter" || event.key === " ") && !event.shiftKey && !event.ctrlKey) event.stopPropagation();
    });
    for (const leaving of ["mouseleave", "focusout"]) root.addEventListener(leaving, () => this.redraw());
    signal.addEventListener("abort", () => {
      tick(false, this.#tick);
      clearTimeout(this.#hiding);
      this.#talk?.close();
    });
  }

  // --- what drawings ask

  act(action: string, args: Record<string, unknown> = {}, ids: readonly string[] = [""]): void {
    for (const id of ids) this.#asked.set(`${action} ${id}`, Date.now() + PENDING);
    this.#talk?.do(action, args);
    this.redraw();
  }

  pending(action: string, id = ""): boolean {
    return Date.now() < (this.#asked.get(`${action} ${id}`) ?? 0);
  }

  open(process: string): boolean {
    return this.#shown.has(process);
  }

  show(process: string, on: boolean): void {
    if (on) this.#shown.add(process);
    else this.#shown.delete(process);
    this.#talk?.do("tail", { process, on });
    this.redraw();
  }

  said(process: string): Said | undefined {
    return this.#tails.get(process);
  }

  held(): boolean {
    return this.#root.matches(":hover") || this.#root.contains(document.activeElement);
  }

  now(): number {
    if (this.#why) return this.#lostAt; // nobody knows how long it went on
    return (this.#info?.now ?? 0) + (performance.now() - this.#heardAt) / 1000;
  }

  get lost(): boolean {
    return this.#gone !== "" || !this.#reached || this.#info?.connected === false;
  }

  redraw(): void {
    if (!this.#info || !this.#drawing) return;
    const { dot, text, hint } = this.#drawing.state(this.#info);
    const lost = this.lost && dot !== "";
    set(this.#word, lost ? LOST : text, lost ? this.#why : hint);
    const state = lost ? "lost" : dot;
    if (this.#bar.dataset["state"] !== state) this.#bar.dataset["state"] = state;
    this.#root.classList.toggle("tfnz-lost", this.lost);
    this.#drawing.update(this.#info);
  }

  // --- the channel

  /** Open while it can be seen. */
  #look(): void {
    let inside = true;
    const decide = (): void => {
      const seen = inside && !document.hidden;
      clearTimeout(this.#hiding);
      tick(seen, this.#tick);
      if (!seen) this.#hiding = setTimeout(() => this.#close(), UNSEEN);
      else if (!this.#talk) this.#open();
    };
    const observer = new IntersectionObserver((entries) => {
      inside = entries[entries.length - 1]?.isIntersecting ?? true;
      decide();
    }, { rootMargin: "200px" });
    observer.observe(this.#root);
    document.addEventListener("visibilitychange", decide, { signal: this.#signal });
    this.#signal.addEventListener("abort", () => observer.disconnect());
    decide();
  }

  #close(): void {
    this.#talk?.close();
    this.#talk = undefined;
  }

  #open(): void {
    if (this.#gone) return;
    this.#talk = new Talk(this.#hub, this.#subject, {
      info: (info: Info, first) => {
        this.#tell(info);
        this.#taken();
        // After a new opening the desk does not know any more who wants to see what.
        if (first) for (const process of this.#shown) this.#talk?.do("tail", { process, on: true });
      },
      done: (doing, args, error) => {
        const { process, containers, port } = args as { process?: string; containers?: string[]; port?: number };
        for (const id of [process ?? "", ...(containers ?? []), String(port ?? "")]) this.#asked.delete(`${doing} ${id}`);
        if (error) this.#say(error);
        this.redraw();
      },
      tails: (tails) => {
        for (const [process, said] of Object.entries(tails)) this.#tails.set(process, said);
        this.redraw();
      },
      reached: (yes) => {
        this.#reached = yes;
        this.#lose(yes ? "" : ATTACH);
      },
      gone: (text) => {
        this.#gone = text || "The kernel does not know it any more.";
        this.#lose(this.#gone);
      },
    });
  }

  #begin(kind: string): void {
    const make = DRAWINGS[kind as Info["kind"]];
    if (!make) return;
    const drawing = (this.#drawing = new make(this));
    this.#bar.append(...drawing.title, element("span", "tfnz-space"), this.#actions);
    this.#actions.append(...drawing.actions);
    this.#body.append(...drawing.body);
    this.#body.hidden = true; // until something is known
    set(this.#word, "…");
  }

  #tell(info: Info): void {
    if ("containers" in info) this.#complete(info);
    this.#info = info;
    this.#heardAt = performance.now();
    if (!this.#drawing) this.#begin(info.kind);
    this.#body.hidden = false;
    this.redraw();
  }

  /** Of containers that are as they were, the ids alone are told. */
  #complete(info: Info & { containers: Summary[] }): void {
    const before = this.#info as { containers?: Summary[] } | undefined;
    const had = new Map(before?.containers?.map((each) => [each.id, each]));
    const told = info.containers.map((each) => (typeof each === "string" ? had.get(each) : each));
    info.containers = told.filter((each) => each !== undefined);
  }

  /** Why nothing can be asked for now; empty: it can be again. */
  #lose(why: string): void {
    if (why === this.#why) return;
    this.#lostAt = this.now();
    this.#why = why;
    if (why) this.#taken();
    this.#say(why);
    if (!this.#info && why) {
      set(this.#word, LOST);
      this.#bar.dataset["state"] = "lost";
    }
    this.redraw();
  }

  #say(text: string): void {
    set(this.#said, text);
    this.#alert.hidden = text === "";
  }
}

interface Props {
  model: Model;
  hub: HubModel;
  el: HTMLElement;
  signal?: AbortSignal;
}

/** Draws the view; what it returns ends it, for hosts that give no signal. */
export function render({ model, hub, el, signal }: Props): () => void {
  const end = new AbortController();
  signal?.addEventListener("abort", () => end.abort(), { once: true });
  const root = element("div", "");
  el.append(root);
  end.signal.addEventListener("abort", () => root.remove());
  new Explorer(model, hub, root, end.signal);
  return () => end.abort();
}
