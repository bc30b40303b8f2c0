// What programs wrote into a terminal, and what xterm.js shows of it: the examples that tests/unit/widgets/test_screen.py
// holds a terminal without a page to. RECORD=1 writes what is shown into them; see there.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { Terminal } from "@xterm/xterm";
import examples from "../../../../tests/vectors/screens.json";
import { guard } from "../../src/shell/screen/guard.js";
import { shown } from "../../src/shell/screen/still.js";
import { Unicode11 } from "../../src/shell/screen/unicode.js";

async function screen(rows: number, cols: number, output: string): Promise<unknown[]> {
  const terminal = new Terminal({ cols, rows, allowProposedApi: true, scrollback: 10_000 });
  terminal.unicode.register(new Unicode11());
  terminal.unicode.activeVersion = "11";
  guard(terminal, () => false);
  await new Promise<void>((resolve) => terminal.write(Buffer.from(output, "base64"), resolve));
  return shown(terminal).map((row) => row.map(({ text, style }) => [text, style]));
}

const recorded: object[] = [];

for (const { name, rows, columns, output, screen: expected } of examples) {
  test(`${name}: each cell of the screen`, async () => {
    const found = await screen(rows, columns, output);
    recorded.push({ name, rows, columns, output, screen: found });
    if (!process.env["RECORD"]) assert.deepEqual(JSON.parse(JSON.stringify(found)), expected);
  });
}

test("what xterm.js would stumble over", async () => {
  for (const erase of ["\x1b[1J", "\x1b[?1J"]) {
    const output = Buffer.from(`one\x1b[4;10Hx${erase}\r\x1b[1Aon`).toString("base64");
    assert.deepEqual(await screen(4, 10, output), [[["one", {}]], [], [["on", {}]], [["         x", {}]]]);
  }
});

after(() => {
  if (!process.env["RECORD"]) return;
  const file = join(process.cwd(), "../../tests/vectors/screens.json");
  writeFileSync(file, `[\n${recorded.map((each) => `  ${JSON.stringify(each)}`).join(",\n")}\n]\n`);
});
