// Builds every entry that is there: src/<kind>.ts → ../widgets/static/<kind>.js, minified. `--watch` goes on.
// Prints the sizes, and fails when one is over its budget.
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { esbuild, options } from "./esbuild.mjs";

const KB = 1000;
const budgets = { output: 53 * KB, shell: 402 * KB, plot: 102 * KB, explorer: 52 * KB, page: 12 * KB };

const here = dirname(fileURLToPath(import.meta.url));
const outdir = join(here, "..", "widgets", "static");
const args = process.argv.slice(2);
const asked = args.filter((arg) => !arg.startsWith("-"));
const kinds = Object.keys(budgets).filter(
  (kind) => existsSync(join(here, "src", `${kind}.ts`)) && (asked.length === 0 || asked.includes(kind)),
);

await mkdir(outdir, { recursive: true });
const build = {
  ...options,
  minify: true,
  metafile: true,
  absWorkingDir: here,
  entryPoints: kinds.map((kind) => `src/${kind}.ts`),
  outdir,
};

if (args.includes("--watch")) {
  await (await esbuild.context({ ...build, logLevel: "info" })).watch();
} else {
  const { metafile } = await esbuild.build(build);
  for (const [file, { bytes }] of Object.entries(metafile.outputs)) {
    const kind = file.replace(/^.*\/(\w+)\.js$/, "$1");
    const over = bytes > budgets[kind];
    console.log(`${kind}.js ${bytes} bytes of ${budgets[kind]}${over ? ": too large" : ""}`);
    if (over) process.exitCode = 1;
  }
}
