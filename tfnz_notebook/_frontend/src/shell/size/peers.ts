// Several views of one terminal, in this page and in other pages of this browser: which of them leads.
//
// The leader sets the terminal's size and answers the process's questions: the view that was focused or typed into
// last, else the one that was opened first. A view that is closed, or whose page is, says so.

interface Rank {
  focused: number;
  opened: number;
}

type Told = Rank & { page: number; subject: string; view: string; t: "here" | "who" | "gone" };

const CHANNEL = "tfnz-shell";

/** Views of one page hear each other at once, those of other pages in a moment. Each kernel's bundle is a module of
 * its own: what they share is here. */
interface Here {
  page: number;
  opened: number;
  views: Set<(told: Told) => void>;
}
const here = ((globalThis as any)[Symbol.for("tfnz.shells")] ??= {
  page: Math.random(),
  opened: 0,
  views: new Set(),
}) as Here;

const before = (one: Rank, other: Rank): boolean =>
  one.focused !== other.focused ? one.focused > other.focused : one.opened < other.opened;

/** This view among the others. `changed`: it has become the leader, or is it no more; `joined`: there is a new one. */
export class Peers {
  readonly #subject: string;
  readonly #view: string;
  readonly #changed: (leads: boolean) => void;
  readonly #joined: () => void;
  readonly #others = new Map<string, Rank>();
  #channel: BroadcastChannel | undefined;
  readonly #rank: Rank;
  #led = true;

  constructor(
    subject: string,
    view: string,
    signal: AbortSignal,
    changed: (leads: boolean) => void,
    joined: () => void = () => undefined,
  ) {
    this.#subject = subject;
    this.#view = view;
    this.#changed = changed;
    this.#joined = joined;
    // Date.now() is the same clock in all pages; the page's fraction tells apart what two pages open in one millisecond,
    // and what one page opens in it keeps its order.
    here.opened = Math.max(Date.now() + here.page, here.opened + 0.001);
    this.#rank = { focused: 0, opened: here.opened };
    const hear = (told: Told): void => this.#heard(told);
    here.views.add(hear);
    if (typeof BroadcastChannel !== "undefined") this.#channel = new BroadcastChannel(CHANNEL);
    this.#channel?.addEventListener("message", ({ data }) => (data as Told).page !== here.page && hear(data as Told));
    const leave = (): void => this.#say("gone");
    window.addEventListener("pagehide", leave, { signal });
    // A page that comes back from the back/forward cache.
    window.addEventListener("pageshow", (event) => event.persisted && this.#say("who"), { signal });
    signal.addEventListener("abort", () => {
      here.views.delete(hear);
      leave();
      this.#channel?.close();
    });
  }

  /** Ask who else is there. Those in this page answer before this returns. */
  join(): void {
    this.#say("who");
  }

  /** Whether this view leads. */
  get leads(): boolean {
    return this.#led;
  }

  /** It was focused, or typed into. */
  take(): void {
    if (this.#led && this.#rank.focused > 0) return;
    this.#rank.focused = Math.max(Date.now(), ...[...this.#others.values()].map((each) => each.focused + 1));
    this.#say("here");
    this.#count();
  }

  #say(t: Told["t"]): void {
    const told: Told = { ...this.#rank, page: here.page, subject: this.#subject, view: this.#view, t };
    for (const hear of here.views) hear(told);
    this.#channel?.postMessage(told);
  }

  #heard(told: Told): void {
    if (told.subject !== this.#subject || told.view === this.#view) return;
    if (told.t === "gone") this.#others.delete(told.view);
    else this.#others.set(told.view, { focused: told.focused, opened: told.opened });
    if (told.t === "who") this.#say("here");
    this.#count();
    if (told.t === "who") this.#joined();
  }

  #count(): void {
    const leads = [...this.#others.values()].every((other) => before(this.#rank, other));
    if (leads === this.#led) return;
    this.#led = leads;
    this.#changed(leads);
  }
}
