// Following the end of what grows: until the reader scrolls up, and again when asked to or back at the end.
import { element, icon } from "../look/status.js";

const NEAR = 4; // px that still count as the end

export class Follow {
  readonly chip = element("button", "tfnz-chip");
  private on = true;
  private last = 0;

  constructor(
    private readonly box: HTMLElement,
    private readonly changed: (on: boolean) => void,
  ) {
    this.chip.type = "button";
    this.chip.title = "Go to the end and follow the output";
    this.chip.append(icon("down"), "Follow");
    this.chip.hidden = true;
    this.chip.addEventListener("click", () => {
      this.set(true);
      this.stick();
    });
    box.addEventListener("scroll", () => this.scrolled(), { passive: true });
    // The scroll event comes a frame later; what streams meanwhile must not pull the reader back.
    box.addEventListener("wheel", (event) => {
      if (event.deltaY < 0 && box.scrollHeight > box.clientHeight && box.scrollTop > 0) this.set(false);
    }, { passive: true });
  }

  get following(): boolean {
    return this.on;
  }

  /** After the content has grown, or has another shape. */
  stick(): void {
    if (!this.on) return;
    this.box.scrollTop = 1e9;
    this.last = this.box.scrollTop;
  }

  /** The box was out of the page, as a windowed notebook takes it out, and lost where it was. */
  restore(): void {
    if (this.on) this.stick();
    else if (this.box.scrollTop === 0) this.box.scrollTop = this.last;
  }

  private scrolled(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.box;
    if (clientHeight === 0) return; // not in the page
    const up = scrollTop < this.last - 1;
    this.last = scrollTop;
    if (scrollHeight - scrollTop - clientHeight <= NEAR) this.set(true);
    else if (up) this.set(false);
  }

  private set(on: boolean): void {
    if (this.on === on) return;
    this.on = on;
    this.chip.hidden = on;
    this.changed(on);
  }
}
