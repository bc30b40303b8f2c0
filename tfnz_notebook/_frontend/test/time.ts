// Time that passes when a test says so: setTimeout, setInterval and Date.now. Node 18 has no mock timers for all three.
type Timer = { at: number; every: number; act: () => void };

const real = { setTimeout, clearTimeout, setInterval, clearInterval, now: Date.now };

export class Clock {
  private now = 1_700_000_000_000;
  private serial = 0;
  private readonly timers = new Map<number, Timer>();

  install(): void {
    Object.assign(globalThis, {
      setTimeout: (act: () => void, ms = 0) => this.add(act, ms, 0),
      setInterval: (act: () => void, ms = 0) => this.add(act, ms, Math.max(1, ms)),
      clearTimeout: (id: number) => this.timers.delete(id),
      clearInterval: (id: number) => this.timers.delete(id),
    });
    Date.now = () => this.now;
  }

  restore(): void {
    const { now, ...timers } = real;
    Object.assign(globalThis, timers);
    Date.now = now;
  }

  private add(act: () => void, ms: number, every: number): number {
    this.serial += 1;
    this.timers.set(this.serial, { at: this.now + ms, every, act });
    return this.serial;
  }

  /** What falls due within `ms`, in order. */
  tick(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const due = [...this.timers].filter(([, { at }]) => at <= end).sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0];
      if (!due) break;
      const [id, timer] = due;
      this.now = Math.max(this.now, timer.at);
      if (timer.every > 0) timer.at += timer.every;
      else this.timers.delete(id);
      timer.act();
    }
    this.now = end;
  }
}
