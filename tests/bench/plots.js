// Two pages that draw the same: five lines, ten rows a second, the last minute. One is uPlot alone, as its own examples
// have it; the other is our view, fed by a model that says what a kernel's comm would.
const ROWS = 600;
const LINES = 5;
const PERIOD_MS = 100;
const COLORS = ["#4c86d9", "#e07b26", "#2f9e68", "#d2475a", "#8d6fd6"];
const row = (at) => Array.from({ length: LINES }, (_, line) => 50 + 40 * Math.sin(at * (0.3 + line / 7) + line));

/** Begins with a minute's rows, and then has one more ten times a second. */
function clock(each) {
  let now = Date.now() / 1000 - (ROWS * PERIOD_MS) / 1000;
  for (let number = 0; number < ROWS; number += 1, now += PERIOD_MS / 1000) each(now, row(now), number < ROWS - 1);
  setInterval(() => each(Date.now() / 1000, row(Date.now() / 1000), false), PERIOD_MS);
}

function bare(box) {
  const data = Array.from({ length: LINES + 1 }, () => []);
  const plot = new uPlot(
    {
      width: box.clientWidth,
      height: 220,
      scales: { y: { range: [0, 100] } },
      series: [{}, ...COLORS.map((stroke, line) => ({ label: `s${line}`, stroke, width: 1.5, points: { show: false } }))],
    },
    data,
    box,
  );
  clock((x, values, more) => {
    [x, ...values].forEach((value, column) => {
      data[column].push(value);
      if (data[column].length > ROWS) data[column].shift();
    });
    if (!more) plot.setData(data);
  });
}

/** `v`: the version of what pages and kernels say. */
async function ours(box, code, v) {
  const view = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  const columns = COLORS.map((color, line) => ({ name: `s${line}`, unit: "%", shown: true, color }));
  const info = { columns, order: [0, 1, 2, 3, 4], window: 60, x: "time", skipped: 0, rows: 1, ended: false, title: "bench", error: "" };
  let hear;
  let number = 0;
  const say = (view, head, payload) => hear({ v, m: [{ view, ...head }] }, payload ? [new DataView(payload)] : []);
  const hub = {
    comm_live: true,
    on: (event, callback) => event === "msg:custom" && (hear = callback),
    send: (content) => {
      for (const head of content.m ?? []) {
        if (head.t !== "open") continue;
        queueMicrotask(() => {
          say(head.view, { t: "opened", streams: [], info });
          clock((x, values) => {
            const payload = Float64Array.from([x, ...values]).buffer;
            say(head.view, { t: "rows", from: number++, columns: LINES + 1, b: 0 }, payload);
          });
        });
      }
    },
  };
  const traits = { subject: "plot:bench", options: {}, direct: null };
  view.render({ model: { get: (name) => traits[name] }, el: box, hub });
}
