// A page to look at views in without a kernel: `node dev/build.mjs`, then open dev/harness.html. Scenes by ?scene=a,b.
import { render } from "../src/output.js";
import { FakeHub, FakeProcess, Log } from "../test/channel/desk.js";

const processes = new Map<string, FakeProcess>();
const hub = new FakeHub(processes);
setInterval(() => hub.desk.pump(), 16);

function show(process: FakeProcess, options: Record<string, unknown> = {}): () => void {
  processes.set(process.subject, process);
  const cell = document.createElement("div");
  cell.className = "cell";
  cell.id = `cell-${process.subject}`;
  document.getElementById("cells")?.append(cell);
  const traits: Record<string, unknown> = { subject: process.subject, options, direct: null };
  const model = { get: (name: string) => traits[name] } as unknown as Parameters<typeof render>[0]["model"];
  return render({ model, el: cell, hub });
}

const E = "\x1b[";
const scenes: Record<string, () => void> = {
  colours() {
    const p = new FakeProcess("colours", { command: "ls --color -l /etc && make test" });
    show(p);
    p.out("plain \x1b[1mbold\x1b[0m \x1b[2mdim\x1b[0m \x1b[3mitalic\x1b[0m \x1b[4munderline\x1b[0m \x1b[7minverse\x1b[0m \x1b[9mstrike\x1b[0m\n");
    for (const base of [30, 90]) p.out(Array.from({ length: 8 }, (_, i) => `${E}${base + i}m colour ${base + i} ${E}0m`).join("") + "\n");
    p.out(Array.from({ length: 8 }, (_, i) => `${E}${40 + i}m back ${40 + i} ${E}0m`).join("") + "\n");
    p.out(Array.from({ length: 36 }, (_, i) => `${E}48;5;${16 + i * 6}m  ${E}0m`).join("") + " 256\n");
    p.out(Array.from({ length: 36 }, (_, i) => `${E}38;2;${i * 7};${255 - i * 7};128m#${E}0m`).join("") + " true\n");
    p.err("warning: this came from stderr\n");
    p.out("and this again from stdout\n");
    p.err(`${E}1;31merror:${E}0m cannot open file: no such file\n`);
    p.out("Grüße, 日本語, emoji 🚀 done ✓\n\ttabbed\tcolumns\there\n");
    p.out(`hidden \x1b]8;;http://example.com\x07link\x1b]8;;\x07 title\x1b]0;evil\x07 clip\x1b]52;c;AAAA\x1b\\ move${E}10;10H${E}2J.\n`);
    p.out("<script>alert(1)</script> <b>no markup</b> \u202etxet desrever\u202c\n");
    p.end(0);
  },
  running() {
    const p = new FakeProcess("running", { command: "ping -i 0.2 10.0.0.1", started: Date.now() - 75_000 });
    show(p);
    let n = 0;
    setInterval(() => {
      p.out(`64 bytes from 10.0.0.1: icmp_seq=${++n} ttl=64 time=${(Math.random() * 3).toFixed(2)} ms\n`);
      hub.desk.state(p);
    }, 100);
  },
  progress() {
    const p = new FakeProcess("progress", { command: "pip install everything" });
    show(p, { stdin: true });
    p.out("Collecting everything\n");
    let n = 0;
    setInterval(() => {
      n = (n + 1) % 101;
      p.err(`\r${E}K${E}32m${"█".repeat(n / 2)}${E}2m${"░".repeat(50 - n / 2)}${E}0m ${n}%`);
    }, 50);
  },
  endings() {
    const many: [string, number, Record<string, unknown>][] = [
      ["true", 0, {}], ["false", 1, {}], ["sleep 100", -15, {}], ["sleep 10", -9, { timed_out: true }],
      ["stress --vm 9", -9, { oom: true }],
    ];
    many.forEach(([command, code, more], i) => {
      const p = new FakeProcess(`ending${i}`, { command, started: Date.now() - 3200 });
      show(p);
      p.out(`output of ${command}\n`);
      p.end(code, more);
    });
  },
  starting() {
    show(new FakeProcess("starting", { state: "starting", command: "postgres", started: 0 }));
  },
  long() {
    const p = new FakeProcess("long", { command: "seq 1 100000" });
    show(p);
    p.out(Array.from({ length: 100_000 }, (_, i) => String(i + 1)).join("\n") + "\n");
    p.end(0);
  },
  binary() {
    const p = new FakeProcess("binary", { command: "cat /bin/sh" });
    show(p);
    const bytes = new Uint8Array(200_000);
    for (let i = 0; i < bytes.length; i += 1) bytes[i] = Math.floor(Math.random() * 256);
    p.out(bytes);
    p.end(0);
  },
  oneline() {
    const p = new FakeProcess("oneline", { command: "head -c 10M /dev/zero | tr '\\0' x" });
    show(p);
    p.log(1).write("x".repeat(10_000_000));
    p.end(0);
  },
  flood() {
    const line = new TextEncoder().encode("0123456789abcdef the quick brown fox jumps over the lazy dog 0123456789\n");
    const p = new FakeProcess("flood", { command: "yes | head -c 1G" });
    p.logs.set(1, new Log((offset, length) => {
      const made = new Uint8Array(length);
      for (let i = 0; i < length; i += 1) made[i] = line[(offset + i) % line.length] as number;
      return made;
    }));
    show(p);
    const total = 1e9;
    const timer = setInterval(() => {
      p.log(1).head = Math.min(total, p.log(1).head + 10_000_000);
      if (p.log(1).head === total) {
        clearInterval(timer);
        p.end(0);
      }
      hub.desk.state(p);
    }, 50);
  },
  twenty() {
    for (let i = 0; i < 20; i += 1) {
      const p = new FakeProcess(`many${i}`, { command: `monitor ${i}` });
      show(p, { rows: 6 });
      let n = 0;
      setInterval(() => p.out(`${new Date().toISOString()} view ${i} line ${++n} ok\n`), 100);
    }
  },
  dead() {
    const p = new FakeProcess("dead", { command: "tail -f /var/log/nginx/access.log" });
    show(p);
    p.out("the last line before the kernel went away\n");
    setTimeout(() => hub.die(), 500);
  },
};

const parameters = new URLSearchParams(location.search);
document.body.setAttribute("data-jp-theme-light", parameters.has("dark") ? "false" : "true");
for (const name of (parameters.get("scene") ?? "colours,running,progress,endings").split(",")) scenes[name]?.();
Object.assign(globalThis, { hub, processes, show, FakeProcess });
