// A view's end of the protocol for subjects that have a state and no bytes: hub.ts is for those that have. It speaks
// over the kernel's comm alone, as what cards show lives in the kernel.
import { type HubModel, type Line, onWake, openComm } from "../channel/carriers.js";
import { type Head, newId } from "../channel/frames.js";
import type { Said } from "./info.js";

export interface Told {
  /** The whole state; `first` after each opening. */
  info(info: any, first: boolean): void;
  /** Something that was asked for was done, or not: why. */
  done(doing: string, args: Record<string, unknown>, error: string): void;
  /** What processes wrote, of those that have written more. */
  tails(tails: Record<string, Said>): void;
  /** Whether the kernel can be reached. */
  reached(yes: boolean): void;
  /** The kernel has nothing (more) to say of it. */
  gone(text: string): void;
}

const AGAIN_MS = [250, 5000] as const;
/** A page that was closed says nothing; one that is there says so. See SILENCE in watched.py. */
const HERE_MS = 60_000;

/** Opens the subject until it is closed: anew when the desk dropped it, or the comm lives again. */
export class Talk {
  readonly #view = newId();
  readonly #unwake: () => void;
  readonly #hub: HubModel;
  readonly #subject: string;
  readonly #told: Told;
  #line: Line | null = null;
  #opened = false;
  #waiting: Head[] = [];
  #pause: number = AGAIN_MS[0];
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #here: ReturnType<typeof setInterval>;

  constructor(hub: HubModel, subject: string, told: Told) {
    this.#hub = hub;
    this.#subject = subject;
    this.#told = told;
    this.#unwake = onWake(hub, () => this.#open());
    this.#here = setInterval(() => this.#opened && this.do("here", {}), HERE_MS);
    this.#open();
  }

  do(action: string, args: Record<string, unknown>): void {
    const head = { t: "do", view: this.#view, action, args };
    if (this.#opened) this.#line?.send(head);
    else this.#waiting.push(head);
  }

  close(): void {
    clearTimeout(this.#timer);
    clearInterval(this.#here);
    this.#unwake();
    this.#line?.send({ t: "close", view: this.#view });
    this.#line?.close();
    this.#line = null;
  }

  #open(): void {
    this.#opened = false;
    this.#line?.close();
    this.#line = openComm(this.#hub, this.#view, {
      ready: () => undefined,
      message: (head) => this.#heard(head),
      dead: () => {
        this.#line = null;
        this.#told.reached(false);
      },
    });
    this.#told.reached(this.#line !== null);
    this.#line?.send({ t: "open", view: this.#view, subject: this.#subject });
  }

  #heard(head: Head): void {
    const told = this.#told;
    switch (head.t) {
      case "opened":
        this.#opened = true;
        this.#pause = AGAIN_MS[0];
        told.info(head["info"], true);
        for (const said of this.#waiting.splice(0)) this.#line?.send(said);
        break;
      case "state":
        if (this.#opened) told.info(head["info"], false);
        break;
      case "done":
      case "error":
        told.done(String(head["doing"] ?? ""), Object(head["args"]) as Record<string, unknown>, String(head["text"] ?? ""));
        break;
      case "tails":
        told.tails(Object(head["tails"]) as Record<string, Said>);
        break;
      case "closed":
        this.#opened = false;
        if (head["reason"] === "link" || head["reason"] === "slow") {
          clearTimeout(this.#timer);
          this.#timer = setTimeout(() => this.#line && this.#open(), this.#pause);
          this.#pause = Math.min(2 * this.#pause, AGAIN_MS[1]);
        } else {
          told.gone(String(head["text"] ?? ""));
        }
        break;
      default: // a newer desk's; nothing depends on it
    }
  }
}
