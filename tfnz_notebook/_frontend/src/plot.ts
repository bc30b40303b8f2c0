// The plot: rows of numbers that the kernel sends, drawn by uPlot.
//
// Rows go into a bounded store; one animation frame draws what is there, and takes at most a quarter of the page's time.
// A view that nobody can see (a hidden tab, scrolled away, paused) says so: it is sent nothing, and draws nothing.
import { type CarrierKind, type Channel, type HubModel, connect } from "./hub.js";
import { plural } from "./text/numbers.js";
import sheet from "./plot/plot.css";
import { Axis, type Linked } from "./plot/axis.js";
import { Chart } from "./plot/chart.js";
import { Choosers } from "./plot/choosers.js";
import { Legend } from "./plot/legend.js";
import { type Column, Numbers, extremes } from "./plot/numbers.js";
import { Rows } from "./plot/rows.js";
import { clock, human } from "./plot/units.js";
import { button, element, icon, set } from "./look/status.js";
import { replaceTwin, themed, useStyle } from "./look/theme.js";

const SHARE = 4;
/** Lines that have not moved by a pixel are not drawn again, but for so long at most. */
const STILL_MS = 250;
/** How long the kernel sends without hearing of us (LOOK in widgets/plot.py), and how often it does. */
const LOOK_S = 120;
const LOOK_MS = 45_000;
const UNSEEN_MS = 2000;
const NOTE_MS = 12_000;
/** Between updates of how many rows there are. */
const COUNT_MS = 1000;
/** Between those of the chart in words, which are also made when it is focused. */
const DESCRIBED_MS = 10_000;
/** Rows that an arrow with Shift goes on by, and how much of what is shown + leaves. */
const LEAP = 10;
const CLOSER = 0.5;
const KEYS = "Arrows: the row before or after, with Shift ten. Plus and minus: zoom. 0: all again. Space: pause.";

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

class Plot implements Linked {
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
  readonly #linkButton: HTMLButtonElement;
  readonly #tableButton: HTMLButtonElement;
  readonly #numbers: Numbers;
  readonly #axis = Axis.ofPage;
  readonly #legend: Legend;
  readonly #choosers: Choosers;
  readonly #channel: Channel;
  readonly #shown: () => void;

  readonly #rows = new Rows();
  #info = EMPTY;
  #chart: Chart | undefined;
  #drawn = ""; // what the chart was made for
  #lines: Column[] = [];
  #cursor: number | undefined; // the row at which keys have put the pointer
  #pointed: number | null = null; // the x at which another plot has it
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
  #describedAt = -Infinity;

  constructor({ model, el, hub }: Props, private readonly signal: AbortSignal) {
    const root = element("div", "tfnz-plot");
    useStyle("plot", sheet);
    themed(root, signal, () => this.#remake());
    this.#legend = new Legend((index, visible) => this.#chart?.show(index, visible));
    this.#choosers = new Choosers(
      (seconds) => (this.#linked ? this.#axis.choose(seconds) : this.window(seconds)),
      (names) => this.#channel.send("do", { action: "columns", args: { names } }),
    );
    this.#pauseButton = button("pause", "Pause", () => this.#stop(!this.#paused));
    this.#wholeButton = element("button", "tfnz-button", "Reset zoom");
    this.#wholeButton.type = "button";
    this.#wholeButton.hidden = true;
    this.#wholeButton.title = "Show the whole window again (double-click)";
    this.#wholeButton.addEventListener("click", () => this.#zoomed(null));
    this.#linkButton = toggle("Link", "One time axis: the linked plots of this page show the same moments", () =>
      this.#axis.link(!this.#axis.on, this.#info.window),
    );
    this.#numbers = new Numbers("The numbers of the plot");
    this.#tableButton = toggle("Table", "The numbers in view as a table", () => this.#tabulate());
    const actions = element("div", "tfnz-actions");
    actions.append(this.#wholeButton, this.#pauseButton, this.#choosers.window, this.#linkButton, this.#tableButton, this.#choosers.button);
    this.#box.tabIndex = 0;
    this.#box.setAttribute("role", "application");
    this.#box.setAttribute("aria-roledescription", "chart");
    this.#box.setAttribute("data-lm-suppress-shortcuts", "true");
    this.#box.addEventListener("focus", () => this.#describe());
    this.#box.addEventListener("blur", () => this.#go(undefined));
    this.#skipped.hidden = true;
    this.#status.setAttribute("role", "group");
    this.#state.setAttribute("role", "status");
    this.#note.setAttribute("role", "alert");
    this.#status.append(element("span", "tfnz-dot"), this.#state, this.#title, this.#facts, this.#skipped, this.#note);
    this.#status.append(element("span", "tfnz-space"), actions);
    this.#box.append(this.#empty);
    root.append(this.#legend.el, this.#box, this.#numbers.el, this.#choosers.panel, this.#status);
    el.append(root);
    this.#shown = replaceTwin(root, (model.get("options") ?? {}).key, signal);
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
          this.#shown();
          this.#tell();
        },
        carrier: (kind) => {
          this.#carrier = kind;
          if (kind === "none") this.#shown();
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
        this.#axis.delete(this);
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
    if (info.x === "time" && info.columns.length > 0) this.#axis.add(this);
    if (info.rows === 0) this.#shown();
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

  get #linked(): boolean {
    return this.#axis.on && this.#info.x === "time";
  }

  get newest(): number {
    return this.#rows.last;
  }

  moved(): void {
    this.#wholeButton.hidden = this.#zoomOf === null;
    this.#numbers.reset();
    this.#redraw();
  }

  told(): void {
    this.#linkButton.hidden = !this.#axis.several || this.#info.x !== "time" || this.#info.columns.length === 0;
    this.#linkButton.setAttribute("aria-pressed", String(this.#axis.on));
  }

  point(x: number | null): void {
    this.#pointed = x;
    this.#chart?.point(x);
    const row = Math.min(this.#rows.at(x ?? 0), this.#rows.length - 1); // another plot may have newer ones
    this.#hover(x === null || row < 0 ? null : row - this.#low);
  }

  window(seconds: number): void {
    if (seconds === this.#info.window && this.#zoom === null) return;
    this.#zoom = null;
    this.#info = { ...this.#info, window: seconds };
    this.#channel.send("do", { action: "window", args: { seconds } });
    this.#redraw();
  }

  #stop(on: boolean): void {
    if (this.#linked) this.#axis.pause(on);
    else this.paused(on);
  }

  paused(on: boolean): void {
    this.#paused = on;
    this.#pauseButton.replaceChildren(icon(on ? "play" : "pause"));
    this.#pauseButton.title = on ? "Go on" : "Pause";
    this.#pauseButton.setAttribute("aria-label", this.#pauseButton.title);
    this.#pauseButton.setAttribute("aria-pressed", String(on));
    this.#look();
    this.#tell();
    if (!on) this.#redraw();
  }

  get #zoomOf(): [number, number] | null {
    return this.#linked ? this.#axis.zoom : this.#zoom;
  }

  #zoomed(range: [number, number] | null): void {
    if (this.#linked) {
      this.#axis.zoomed(range);
      return;
    }
    this.#zoom = range;
    this.moved();
  }

  #tabulate(): void {
    this.#numbers.el.hidden = !this.#numbers.el.hidden;
    this.#tableButton.setAttribute("aria-pressed", String(!this.#numbers.el.hidden));
    this.moved();
  }

  // --- keys --------------------------------------------------------------------------------------------------------

  #key(key: string, shift: boolean): boolean {
    const last = this.#rows.length - 1;
    const [from, to] = this.#limits ?? [0, 0];
    const at = this.#cursor ?? Math.min(last + 1, this.#rows.at(to) + 1);
    const step = shift ? LEAP : 1;
    if (last < 0) return false;
    if (key === "ArrowLeft") this.#go(at - step);
    else if (key === "ArrowRight") this.#go(at + step);
    else if (key === "Home") this.#go(this.#rows.at(from));
    else if (key === "End") this.#go(last);
    else if (key === "+" || key === "=") this.#closer(CLOSER);
    else if (key === "-") this.#closer(1 / CLOSER);
    else if (key === "0" || (key === "Escape" && (this.#zoomOf !== null || this.#cursor !== undefined))) {
      this.#go(undefined);
      this.#zoomed(null);
    } else if (key === " " && !this.#info.ended) this.#stop(!this.#paused);
    else return false;
    return true;
  }

  /** The pointer to a row, which is spoken; undefined: away. */
  #go(row: number | undefined): void {
    if (row === undefined && this.#cursor === undefined) return;
    const last = this.#rows.length - 1;
    this.#cursor = row === undefined ? undefined : Math.max(0, Math.min(last, row));
    const x = this.#cursor === undefined ? null : this.#rows.x(this.#cursor);
    this.point(x);
    if (this.#linked) this.#axis.point(this, x);
    const said = this.#lines.filter((line) => this.#legend.visible(line.name));
    this.#legend.spoken.textContent =
      x === null ? "" : `${this.#where(x)}: ${said.map((line) => `${line.name} ${human(this.#rows.value(line.column, this.#cursor ?? 0), line.unit)}`).join(", ")}`;
  }

  /** Show a part of what is shown, or more, around the pointer. */
  #closer(part: number): void {
    const [from, to] = this.#limits ?? [0, 0];
    const middle = this.#cursor === undefined ? (from + to) / 2 : this.#rows.x(this.#cursor);
    const half = ((to - from) * part) / 2;
    const range: [number, number] = [Math.max(this.#rows.x(0), middle - half), Math.min(this.#rows.last, middle + half)];
    this.#zoomed(range[0] <= this.#rows.x(0) && range[1] >= this.#rows.last ? null : range);
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
      [state, words] = [info.error || info.empty ? "bad" : "ok", "ended"];
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
    this.#tableButton.hidden = this.#choosers.window.hidden = info.columns.length === 0;
    this.told();
    if (this.#toldAt >= this.#describedAt + DESCRIBED_MS || info.ended) this.#describe();
  }

  #describe(): void {
    this.#describedAt = performance.now();
    this.#box.setAttribute("aria-label", `${this.#info.title}: ${this.#described()} ${KEYS}`);
  }

  /** The chart in words. */
  #described(): string {
    const said = this.#lines.map((line) => {
      const found = extremes(this.#rows, line.column, this.#low, this.#rows.length);
      const range = found && found.low < found.high ? `, ${human(found.low, line.unit)} to ${human(found.high, line.unit)}` : "";
      return `${line.name} ${human(this.#rows.newest(line.column), line.unit)}${range}`;
    });
    return said.length > 0 ? `${this.#counted()}. ${said.join("; ")}.` : (this.#info.empty ?? "");
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
    if (!this.#paused || this.#limits === undefined || this.#zoomOf !== null || this.#unzoom) this.#limits = this.#between();
    const [from, to] = this.#limits;
    // One row beyond either end, so that lines go on to the edges.
    this.#low = Math.max(0, this.#rows.at(from) - 1);
    const high = Math.min(this.#rows.length, this.#rows.at(to) + 1);
    const data = [this.#rows.slice(0, this.#low, high), ...this.#lines.map((line) => this.#rows.slice(line.column, this.#low, high))];
    this.#chart.draw(data as never, this.#limits, this.#rows.first + this.#low);
    this.#shown();
    if (this.#pointed !== null) this.point(this.#pointed);
    if (began >= this.#toldAt + COUNT_MS) this.#tell();
    this.#numbers.update(began, this.#rows, this.#lines, this.#rows.at(from), high, this.#xName, (x) => this.#where(x));
    this.#legend.values(began, (line) => human(this.#rows.newest(this.#lines[line]?.column ?? -1), this.#lines[line]?.unit));
    const now = performance.now();
    const still = this.#info.x === "time" ? Math.min(STILL_MS, 1000 * this.#chart.pixel) : 0;
    this.#notBefore = Math.max(began + still, now + (now - began) * (SHARE - 1));
  }

  #limits: [number, number] | undefined;
  get #unzoom(): boolean {
    return this.#paused && this.#zoomOf === null;
  }

  /** From which x to which is shown. */
  #between(): [number, number] {
    const zoom = this.#zoomOf;
    if (zoom !== null) return zoom;
    const last = this.#linked ? this.#axis.newest : this.#rows.last;
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
      hover: (index) => this.#hovered(index),
      key: (key, shift) => this.#key(key, shift),
    });
  }

  /** The mouse is at a row. */
  #hovered(index: number | null): void {
    this.#hover(index);
    if (this.#linked) this.#axis.point(this, index === null ? null : this.#rows.x(this.#low + index));
  }

  get #xName(): string {
    return this.#info.x === "time" ? "time" : this.#info.x_name || "row";
  }

  #where(x: number): string {
    return this.#info.x === "time" ? clock(x, x % 1 ? 0.1 : 1) : `${this.#xName} ${human(x)}`;
  }

  #hover(index: number | null): void {
    if (index === null) {
      this.#legend.at("", undefined);
      return;
    }
    const row = this.#low + index;
    const x = this.#rows.x(row);
    this.#legend.at(this.#where(x), (line) => human(this.#rows.value(this.#lines[line]?.column ?? -1, row), this.#lines[line]?.unit));
  }
}

function toggle(text: string, title: string, act: () => void): HTMLButtonElement {
  const made = element("button", "tfnz-button", text);
  made.type = "button";
  made.title = title;
  made.setAttribute("aria-pressed", "false");
  made.addEventListener("click", act);
  return made;
}

export function render(props: Props): () => void {
  const life = new AbortController();
  props.signal?.addEventListener("abort", () => life.abort(), { once: true });
  new Plot(props, life.signal);
  return () => life.abort();
}
