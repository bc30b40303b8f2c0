// A tunnel's card, and with `preview` a frame that shows what answers there.
import { plural } from "../../text/numbers.js";
import { element, set } from "../../look/status.js";
import { type Desk, type Drawing, address, near } from "../desk.js";
import type { TunnelInfo } from "../info.js";
import { Link } from "../link.js";
import { word } from "../parts.js";

/**
 * What a previewed page may do: run, and have forms. Not move the notebook's page away, not open windows.
 * `allow-same-origin` gives it the origin it comes from, which is another one than the notebook's as the port differs;
 * through the Jupyter server it would be the notebook's own, and so it gets none.
 */
const MAY = "allow-scripts allow-forms";

export class TunnelCard implements Drawing<TunnelInfo> {
  readonly title: HTMLElement[];
  readonly actions: HTMLElement[];
  readonly body: HTMLElement[];
  readonly #link = new Link();
  readonly #direct = new Link();
  readonly #to = element("span", "tfnz-facts tfnz-clip");
  readonly #connections = element("span", "tfnz-facts");
  readonly #hint = element("div", "tfnz-line tfnz-dim");
  readonly #place = element("div", "tfnz-preview");
  readonly #reload: HTMLButtonElement;
  readonly #end: HTMLButtonElement;
  #frame: HTMLIFrameElement | undefined;

  readonly #desk: Desk;

  constructor(desk: Desk) {
    this.#desk = desk;
    this.#link.el.classList.add("tfnz-mono", "tfnz-clip");
    this.#reload = word("Reload", "Load the preview again", () => this.#load());
    this.#end = word("Close", "Close this tunnel", () => desk.act("close"));
    this.title = [this.#link.el, this.#to, this.#direct.el, this.#connections];
    this.actions = [this.#reload, this.#end];
    this.body = [this.#hint, this.#place];
  }

  state(told: TunnelInfo): { dot: string; text: string } {
    if (!told.open) return { dot: "", text: "closed" };
    if (told.state !== "running") return { dot: "bad", text: told.state };
    return told.listening === false ? { dot: "starting", text: "waiting" } : { dot: "running", text: "open" };
  }

  update(told: TunnelInfo): void {
    const { url, sandboxed, proxied } = address(told.local, told.path, location, told.through);
    this.#link.point(told.local, told.path, "", told.through);
    // What cannot live in a sandbox (it wants storage, or a login kept in a cookie) has the port itself.
    this.#direct.el.hidden = !sandboxed || !near() || !told.open;
    this.#direct.point(told.local, told.path, "local port");
    if (this.#frame && this.#url !== url) this.#drop();
    this.#url = url;
    this.#sealed = sandboxed || proxied;
    set(this.#to, `→ port ${told.port} of ${told.container}`, told.image);
    set(this.#connections, told.open && told.connections > 0 ? plural(told.connections, "connection") : "");
    this.#end.hidden = !told.open;
    this.#end.disabled = this.#desk.lost || this.#desk.pending("close");
    const works = told.open && told.state === "running" && told.listening === true;
    if (told.preview && works && !this.#frame) this.#load();
    if (!told.open) this.#drop();
    this.#reload.hidden = !this.#frame;
    this.#place.hidden = !this.#frame;
    set(this.#hint, this.#words(told, proxied));
    this.#hint.hidden = this.#hint.textContent === "";
  }

  #url = "";
  #sealed = false;

  #words(told: TunnelInfo, proxied: boolean): string {
    if (!told.open) return "";
    if (told.listening === false) return `Nothing listens on port ${told.port} of ${told.container} yet.`;
    if (proxied)
      return (
        "The kernel runs on another machine than this browser: the link goes through the Jupyter server, which needs " +
        "jupyter-server-proxy for it."
      );
    return this.#frame ? "If the frame stays empty, that server forbids to be framed: the link above opens it." : "";
  }

  #load(): void {
    this.#drop();
    const frame = (this.#frame = element("iframe", ""));
    frame.setAttribute("sandbox", this.#sealed ? MAY : `${MAY} allow-same-origin`);
    frame.referrerPolicy = "no-referrer"; // the notebook's address may hold its token
    frame.title = `Preview of ${this.#link.el.textContent}`;
    frame.src = this.#url;
    this.#place.append(frame);
  }

  #drop(): void {
    this.#frame?.remove();
    this.#frame = undefined;
  }
}
