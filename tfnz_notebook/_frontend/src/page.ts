// What stays of our views when the page saves its notebook, written into the page's own model of it.
//
// A picture is two outputs of its cell, the view and its static twin (widgets/display.py). The kernel replaces them by
// their display ids, which a page that was loaded since does not know, and knows only what it drew itself. So:
//
// - What the kernel made of a picture last is in its widget's state (`still`), which every page has that has the widget,
//   however late it came and whichever way its views' bytes take. It is put where it belongs, in each page.
// - Of a view that is up to date, a save has what it shows at that moment (`Seen`).
// - Of the others (out of sight, never drawn, plots and cards) the kernel is asked first, and the save waits for it. It
//   is told so as the page begins, for then it need not keep twins up to date, each of which the page would draw anew.
//
// JupyterLab and Notebook 7 let us do that; elsewhere there is no context, and nothing of this happens.
import { type HubModel, transmit } from "./channel/carriers.js";
import sheet from "./page.css";
import palette from "./look/palette.css";
import { VERSION } from "./protocol.js";
import { type Seen, type Templates, markup, plain } from "./still.js";
import { useStyle } from "./look/theme.js";

/** An output's data, by MIME type. */
type Data = Record<string, string>;

interface Still {
  /** The widget's id, which its view's output has. */
  model: string;
  twin: Data;
  /** Once nothing changes any more: what stands in the view's place, and how large its picture is. */
  data?: Data;
  metadata?: object;
}

interface Model {
  get(name: string): any;
  on(event: string, callback: () => void): void;
  off(event: string, callback: () => void): void;
}

interface Outputs {
  readonly length: number;
  get(index: number): { toJSON(): { data?: Record<string, unknown> } };
  set(index: number, value: unknown): void;
}

/** One output of a cell, and its data. */
interface Place {
  outputs: Outputs;
  index: number;
  had: Record<string, unknown>;
}

interface Context {
  /** `collaborative`: the server writes the file, whenever the model changes. */
  model?: { cells?: Iterable<{ outputs?: Outputs }>; collaborative?: boolean };
  save?(...given: unknown[]): Promise<unknown>;
  saveState?: { connect(slot: (sender: unknown, state: string) => void): unknown };
  [extra: symbol]: unknown;
}

type Hub = HubModel & { widget_manager?: { context?: Context } };

const VIEW = "application/vnd.jupyter.widget-view+json";
const BODY = 'style="margin:0">';
/** The kernel's own update of a display comes first, where it comes. */
const SETTLE_MS = 500;
/** So long a save waits for the kernel. */
const PATIENCE_MS = 2000;

/** All pictures of one kernel in one page. */
export class Keeper {
  readonly #context: Context | undefined;
  readonly #models = new Map<string, Model>();
  readonly #seen = new Map<string, Set<Seen>>();
  readonly #answers = new Map<number, () => void>();
  #asked = 0;

  constructor(private readonly hub: Hub) {
    this.#context = hub.widget_manager?.context;
    if (this.#context === undefined) return;
    keepers(this.#context).add(this);
    useStyle("kept", palette + sheet);
    hub.on("msg:custom", (content: { v?: unknown; kept?: unknown } | undefined) => {
      if (content?.v === VERSION && typeof content.kept === "number") this.#answers.get(content.kept)?.();
    });
    if (this.#context.save && !this.#context.model?.collaborative) this.#ask([]);
  }

  /** Look after a picture, until its widget is closed. */
  keep(model: Model, signal?: AbortSignal): void {
    const key = keyOf(model);
    if (this.#context === undefined || !key) return;
    this.#models.set(key, model);
    const changed = (): void => void setTimeout(() => this.#put(model), SETTLE_MS);
    model.on("change:still", changed);
    if (model.get("still")) changed();
    signal?.addEventListener("abort", () => {
      model.off("change:still", changed);
      if (this.#models.get(key) === model) this.#models.delete(key);
    });
  }

  /** A view of it was drawn. */
  seen(model: Model, view: Seen, signal?: AbortSignal): void {
    const key = keyOf(model);
    const views = this.#seen.get(key) ?? new Set();
    this.#seen.set(key, views.add(view));
    signal?.addEventListener("abort", () => views.delete(view));
  }

  /** Before a save: the kernel is asked for what no view here shows. */
  async refresh(): Promise<void> {
    const keys = [...this.#models].filter(([key, model]) => !model.get("still")?.data && !this.#current(key)).map(([key]) => key);
    if (keys.length === 0 || this.hub.comm_live === false) return;
    await new Promise<void>((resolve) => {
      setTimeout(resolve, PATIENCE_MS);
      this.#ask(keys, resolve);
    });
  }

  #ask(keep: string[], answered = (): void => undefined): void {
    const number = this.#asked++;
    this.#answers.set(number, () => {
      this.#answers.delete(number);
      answered();
    });
    try {
      transmit(this.hub, { v: VERSION, keep, number }, []);
    } catch {
      answered(); // the kernel is gone: what was last known stays
    }
  }

  /** As the save begins: it writes what is in the model after this. */
  write(): void {
    const all = this.#outputs();
    for (const [key, model] of this.#models) {
      const view = model.get("still")?.data ? undefined : this.#current(key);
      if (view === undefined) this.#put(model, all);
      else this.#twin(key, view, all);
    }
  }

  get #templates(): Templates {
    return (this.hub.get?.("stills") ?? {}) as Templates;
  }

  #current(key: string): Seen | undefined {
    return [...(this.#seen.get(key) ?? [])].find((each) => each.current());
  }

  /** Every output of the notebook: to read one is to copy it. */
  #outputs(): Place[] {
    const found: Place[] = [];
    for (const { outputs } of this.#context?.model?.cells ?? []) {
      for (let index = 0; index < (outputs?.length ?? 0); index += 1) {
        found.push({ outputs: outputs!, index, had: outputs!.get(index).toJSON().data ?? {} });
      }
    }
    return found;
  }

  #put(model: Model, all = this.#outputs()): void {
    const still = model.get("still") as Still | null;
    if (!still) return;
    const mark = markOf(keyOf(model));
    for (const { outputs, index, had } of all) {
      const html = joined(had["text/html"]);
      const view = (had[VIEW] as { model_id?: string } | undefined)?.model_id;
      if (still.data && view === still.model) set(outputs, index, still.data, still.metadata);
      else if (html.includes(mark) && html !== still.twin["text/html"]) set(outputs, index, still.twin);
    }
  }

  #twin(key: string, view: Seen, all: Place[]): void {
    const mark = markOf(key);
    const still = view.take();
    const html = markup(still, this.#templates);
    for (const { outputs, index, had } of all) {
      const before = joined(had["text/html"]);
      const at = before.indexOf(mark);
      if (at < 0) continue;
      const head = before.slice(0, before.indexOf(BODY, at) + BODY.length);
      const now = `${head}${html}</div>`;
      if (now !== before) set(outputs, index, { "text/plain": plain(still), "text/html": now });
    }
  }
}

/** The keepers of a notebook's kernels, from the first to the present one, whose views may all be in the page. */
function keepers(context: Context): Set<Keeper> {
  const name = Symbol.for("tfnz.keepers");
  const there = context[name] as Set<Keeper> | undefined;
  if (there) return there;
  const made = (context[name] = new Set<Keeper>());
  // The signal comes right before the model is written, and waits for nobody; nothing that waits is told of a save.
  const save = context.save?.bind(context);
  if (save !== undefined) {
    context.save = async (...given) => {
      await Promise.all([...made].map((each) => each.refresh()));
      return save(...given);
    };
  }
  context.saveState?.connect((_sender, state) => {
    if (state === "started") for (const each of made) each.write();
  });
  return made;
}

const keyOf = (model: Model): string => String((model.get("options") ?? {}).key ?? "");
const markOf = (key: string): string => `tfnz-static-${key}"`;
const joined = (html: unknown): string => [html ?? ""].flat().join("");
const set = (outputs: Outputs, index: number, data: Data, metadata: object = {}): void =>
  outputs.set(index, { output_type: "display_data", metadata, data });

const KEEPER = Symbol.for("tfnz.keeper");

/** The keeper of a hub's pictures in this page. */
export function keeper(hub: Hub): Keeper {
  return ((hub as any)[KEEPER] ??= new Keeper(hub)) as Keeper;
}
