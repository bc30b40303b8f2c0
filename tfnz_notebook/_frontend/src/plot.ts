// The plot: rows of numbers that the kernel sends, drawn by uPlot.
//
// Rows go into a bounded store; one animation frame draws what is there, and takes at most a quarter of the page's time.
// A view that nobody can see (a hidden tab, scrolled away, paused) says so: it is sent nothing, and draws nothing.
import { type CarrierKind, type Channel, type HubModel, connect } from "./hub.js";
import { plural } from "./numbers.js";
import sheet from "./plot.css";
import { Chart, type Line } from "./plot/chart.js";
import { Choosers } from "./plot/choosers.js";
import { Legend } from "./plot/legend.js";
import { Rows } from "./plot/rows.js";
import { clock, human } from "./plot/units.js";
import { button, element, icon, set } from "./status.js";
import { hideTwin, themed, useStyle } from "./theme.js";

const SHARE = 4;
/** How long the kernel sends without hearing of us (LOOK in widgets/plot.py), and how often it does. */
const LOOK_S = 120;
const LOOK_MS = 45_000;
const UNSEEN_MS = 2000;
const NOTE_MS = 12_000;
/** Between updates of how many rows there are. */
const COUNT_MS = 1000;

/** A plot's `info` (VIEWS.md). */
export interface Info {
  columns: { name: string; unit: string; shown: boolean; color: string }[];
  /** Which of the columns are shown, in that order. */
  order: number[];
  window: number;
  x: "time" | "row";
  x_name?: string;
  skipped: number;
  complaint?: string;
  rows: number;
  ended: boolean;
  title: string;
  error: string;
  /** Without rows: what is waited for, and what came instead. */
  empty?: string;
}

interface Props {
  model: { get(name: string): any };
  el: HTMLElement;
  hub: HubModel;
  signal?: AbortSignal;
}

const EMPTY: Info = { columns: [], order: [], window: 60, x: "time", skipped: 0, rows: 0, ended: false, title: "", error: "" };

class Plot {
  readonly #box = element("div", "tfnz-plot-chart");
  readonly #empty = element("div", "tfnz-plot-empty");
  readonly #status = element("div", "tfnz-status");
  readonly #state = element("span", "tfnz-state");
  readonly #title = element("span", "tfnz-title");
  readonly #facts = element("span", "tfnz-facts");
  readonly #skipped = element("span", "tfnz-skipped");
  readonly #note = element("span", "tfnz-note");
  readonly #pauseButton: HTMLButtonElement;
  readonly #wholeButton: HTMLButtonElement;
  readonly #legend: Legend;
  readonly #choosers: Choosers;
  readonly #channel: Channel;

  readonly #rows = new Rows();
  #info = EMPTY;
  #chart: Chart | undefined;
  #drawn = ""; // what the chart was made for
  #lines: (Line & { column: number })[] = [];
  #low = 0; // the first row that is drawn
  #frame = 0;
  #wait: ReturnType<typeof setTimeout> | undefined;
  #notBefore = 0;
  #inPage = false;
  #looked = false;
  #unseen: ReturnType<typeof setTimeout> | undefined;
  #noteTimer: ReturnType<typeof setTimeout> | undefined;
  #paused = false;
  #zoom: [number, number] | null = null;
  #carrier: CarrierKind | undefined;
  #gone = "";
  #toldAt = 0;

  constructor({ model, el, hub }: Props, private readonly signal: AbortSignal) {
    const root = element("div", "tfnz-plot");
    useStyle("plot", sheet);
    themed(root, signal, () => this.#remake());
    this.#legend = new Legend((index, visible) => this.#chart?.show(index, visible));
    this.#choosers = new Choosers(
      (seconds) => this.#choose(seconds),
      (names) => this.#channel.send("do", { action: "columns", args: { names } }),
    );
    this.#pauseButton = button("pause", "Pause", () => this.#pause(!this.#paused));
    this.#wholeButton = element("button", "tfnz-button", "Reset zoom");
    this.#wholeButton.type = "button";
    this.#wholeButton.hidden = true;
    this.#wholeButton.title = "Show the whole window again (double-click)";
    this.#wholeButton.addEventListener("click", () => this.#zoomed(null));
    const actions = element("div", "tfnz-actions");
    actions.append(this.#wholeButton, this.#pauseButton, this.#choosers.window, this.#choosers.button);
    this.#skipped.hidden = true;
    this.#status.setAttribute("role", "group");
    this.#state.setAttribute("role", "status");
    this.#note.setAttribute("role", "alert");
    this.#status.append(element("span", "tfnz-dot"), this.#state, this.#title, this.#facts, this.#skipped, this.#note);
    this.#status.append(element("span", "tfnz-space"), actions);
    this.#box.append(this.#empty);
    root.append(this.#legend.el, this.#box, this.#choosers.panel, this.#status);
    el.append(root);
    hideTwin((model.get("options") ?? {}).key, signal);
    this.#tell();

    this.#channel = connect({
      hub,
      subject: model.get("subject"),
      direct: model.get("direct"),
      openBody: () => ({}),
      handlers: {
        opened: (info: Info) => {
          this.#looked = true; // as the kernel takes a view that opens
          this.#update(info);
          this.#look();
        },
        state: (info: Info) => this.#update(info),
        rows: (from, width, cells) => {
          this.#rows.add(from, width, cells);
          this.#schedule();
        },
        error: (text) => this.#say(text),
        closed: (_reason, text) => {
          this.#gone = text || "The plot is not known any more.";
          this.#tell();
        },
        carrier: (kind) => {
          this.#carrier = kind;
          this.#tell();
        },
      },
    });
    this.#watch(root);
  }

  #watch(root: HTMLElement): void {
    const sight = new IntersectionObserver((entries) => {
      this.#inPage = entries[entries.length - 1]?.isIntersecting ?? false;
      this.#look();
    });
    sight.observe(root);
    const resized = new ResizeObserver(() => {
      if (this.#chart === undefined) this.#schedule();
      else if (this.#visible) this.#chart.fit();
    });
    resized.observe(this.#box);
    const { signal } = this;
    document.addEventListener("visibilitychange", () => this.#look(), { signal });
    window.addEventListener("pagehide", () => this.#looked && this.#sendLook(0), { signal });
    window.addEventListener("pageshow", () => this.#looked && this.#sendLook(LOOK_S), { signal });
    const renew = setInterval(() => this.#looked && this.#sendLook(LOOK_S), LOOK_MS);
    this.signal.addEventListener(
      "abort",
      () => {
        sight.disconnect();
        resized.disconnect();
        clearInterval(renew);
        clearTimeout(this.#unseen);
        clearTimeout(this.#wait);
        clearTimeout(this.#noteTimer);
        cancelAnimationFrame(this.#frame);
        this.#channel.close();
        this.#chart?.destroy();
        root.remove();
      },
      { once: true },
    );
  }

  // --- who looks ---------------------------------------------------------------------------------------------------

  get #visible(): boolean {
    return this.#inPage && document.visibilityState === "visible";
  }

  #look(): void {
    clearTimeout(this.#unseen);
    const looks = this.#visible && !this.#paused;
    if (looks) {
      if (!this.#looked) this.#sendLook(LOOK_S);
      this.#looked = true;
      this.#schedule();
    } else if (this.#looked) {
      // Not at once: scrolling past is no reason to be sent everything again.
      this.#unseen = setTimeout(() => {
        this.#looked = false;
        this.#sendLook(0);
      }, this.#paused ? 0 : UNSEEN_MS);
    }
  }

  #sendLook(seconds: number): void {
    if (this.#carrier !== "none" && !this.#gone) this.#channel.send("do", { action: "look", args: { seconds } });
  }

  // --- state -------------------------------------------------------------------------------------------------------

  #update(info: Info): void {
    this.#info = info;
    this.#choosers.update(info);
    this.#explain(info.empty ?? "");
    this.#tell();
    this.#schedule();
  }

  /** A sentence, and the last lines that came instead of rows. */
  #explain(empty: string): void {
    const [said = "", ...lines] = empty.split("\n");
    const parts = [element("span", "", said), ...(lines.length ? [element("code", "", lines.join("\n"))] : [])];
    if (this.#empty.textContent !== said + lines.join("\n")) this.#empty.replaceChildren(...parts);
  }

  #choose(seconds: number): void {
    this.#zoom = null;
    this.#info = { ...this.#info, window: seconds };
    this.#channel.send("do", { action: "window", args: { seconds } });
    this.#redraw();
  }

  #pause(on: boolean): void {
    this.#paused = on;
    this.#pauseButton.replaceChildren(icon(on ? "play" : "pause"));
    this.#pauseButton.title = on ? "Go on" : "Pause";
    this.#pauseButton.setAttribute("aria-label", this.#pauseButton.title);
    this.#pauseButton.setAttribute("aria-pressed", String(on));
    this.#look();
    this.#tell();
    if (!on) this.#redraw();
  }

  #zoomed(range: [number, number] | null): void {
    this.#zoom = range;
    this.#wholeButton.hidden = range === null;
    this.#redraw();
  }

  #say(text: string): void {
    clearTimeout(this.#noteTimer);
    this.#noteTimer = setTimeout(() => this.#mention(this.#info.error), NOTE_MS);
    this.#mention(text);
  }

  #mention(text: string): void {
    set(this.#note, text, text);
  }

  #tell(): void {
    this.#toldAt = performance.now();
    const info = this.#info;
    let state = info.rows > 0 ? "running" : "starting";
    let words = info.rows > 0 ? "live" : "";
    let hint = "";
    if (this.#gone) {
      [state, words, hint] = ["lost", "gone", this.#gone];
    } else if (this.#carrier === "none") {
      [state, words] = ["lost", "not connected"];
      hint = "The kernel was restarted or ended. %tf_attach finds the process again; then plot it once more.";
    } else if (info.ended) {
      [state, words] = [info.error ? "bad" : "ok", "ended"];
    } else if (this.#paused) {
      [state, words] = ["starting", "paused"];
    }
    this.#status.dataset["state"] = this.#paused && words === "paused" ? "paused" : state;
    set(this.#state, words, hint);
    set(this.#title, info.title, info.title);
    set(this.#facts, state === "lost" && !this.#gone ? "%tf_attach" : this.#counted(), hint);
    this.#skipped.hidden = info.skipped === 0;
    set(this.#skipped, `${plural(info.skipped, "line")} not understood`, info.complaint ? `The last: ${info.complaint}` : "");
    if (info.error || !this.#noteTimer) this.#mention(info.error);
    this.#pauseButton.hidden = info.ended || this.#gone !== "";
  }

  #counted(): string {
    return plural(Math.max(this.#info.rows, this.#rows.end), "row");
  }

  // --- drawing -----------------------------------------------------------------------------------------------------

  /** Anew, even though paused. */
  #redraw(): void {
    if (this.#visible && this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #schedule(): void {
    if (this.#frame !== 0 || this.#wait !== undefined || !this.#visible) return;
    const pause = this.#notBefore - performance.now();
    if (pause > 4) {
      this.#wait = setTimeout(() => {
        this.#wait = undefined;
        this.#schedule();
      }, pause);
    } else {
      this.#frame = requestAnimationFrame(() => this.#draw());
    }
  }

  /** The theme has changed. */
  #remake(): void {
    this.#drawn = "";
    this.#redraw();
  }

  #draw(): void {
    this.#frame = 0;
    const began = performance.now();
    if (this.#box.clientWidth < 50 || this.#chart?.marking) return;
    this.#make();
    if (this.#chart === undefined || this.#rows.length === 0) return;
    if (!this.#paused || this.#limits === undefined || this.#zoom !== null || this.#unzoom) this.#limits = this.#between();
    const [from, to] = this.#limits;
    // One row beyond either end, so that lines go on to the edges.
    this.#low = Math.max(0, this.#rows.at(from) - 1);
    const high = Math.min(this.#rows.length, this.#rows.at(to) + 1);
    const data = [this.#rows.slice(0, this.#low, high), ...this.#lines.map((line) => this.#rows.slice(line.column, this.#low, high))];
    this.#chart.draw(data as never, this.#limits);
    if (began >= this.#toldAt + COUNT_MS) this.#tell();
    this.#legend.values(began, (line) => human(this.#rows.newest(this.#lines[line]?.column ?? -1), this.#lines[line]?.unit));
    const now = performance.now();
    this.#notBefore = now + (now - began) * (SHARE - 1);
  }

  #limits: [number, number] | undefined;
  get #unzoom(): boolean {
    return this.#paused && this.#zoom === null;
  }

  /** From which x to which is shown. */
  #between(): [number, number] {
    if (this.#zoom !== null) return this.#zoom;
    const last = this.#rows.last;
    return [this.#info.window > 0 ? last - this.#info.window : this.#rows.x(0), last];
  }

  /** A chart for the columns that are shown now, if there is not one. */
  #make(): void {
    const { columns, order, x } = this.#info;
    const lines = order.flatMap((index) => {
      const { name = "", unit = "", color = "" } = columns[index] ?? {};
      return name ? [{ name, unit, color, column: index + 1, visible: true }] : [];
    });
    const wanted = JSON.stringify([x, lines]);
    if (wanted === this.#drawn || (lines.length === 0 && this.#chart === undefined)) return;
    this.#drawn = wanted;
    this.#lines = lines.map((line) => ({ ...line, visible: this.#legend.visible(line.name) }));
    this.#legend.update(this.#lines);
    this.#chart?.destroy();
    this.#empty.remove();
    this.#chart = new Chart(this.#box, this.#lines, x === "time", {
      zoom: (range) => this.#zoomed(range),
      hover: (index) => this.#hover(index),
    });
  }

  #hover(index: number | null): void {
    if (index === null) {
      this.#legend.at("", undefined);
      return;
    }
    const row = this.#low + index;
    const x = this.#rows.x(row);
    const where = this.#info.x === "time" ? clock(x, x % 1 ? 0.1 : 1) : `${this.#info.x_name || "row"} ${human(x)}`;
    this.#legend.at(where, (line) => human(this.#rows.value(this.#lines[line]?.column ?? -1, row), this.#lines[line]?.unit));
  }
}

export function render(props: Props): () => void {
  const life = new AbortController();
  props.signal?.addEventListener("abort", () => life.abort(), { once: true });
  new Plot(props, life.signal);
  return () => life.abort();
}
