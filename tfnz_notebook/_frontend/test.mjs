// Runs test/**/*.test.ts (all, or those named) under node:test, bundled as the views are.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { esbuild, options } from "./esbuild.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const asked = process.argv.slice(2);
const names = readdirSync(join(here, "test"), { recursive: true })
  .filter((file) => file.endsWith(".test.ts"))
  .filter((file) => asked.length === 0 || asked.some((name) => basename(file).startsWith(name) || dirname(file) === name));
if (names.length === 0) {
  console.error(`Cannot run tests: none is named ${asked.join(" ")}. See test/.`);
  process.exit(2);
}

// Beneath node_modules, so that the bundles find the packages they do not carry.
const outdir = mkdtempSync(join(here, "node_modules", ".test-"));
try {
  await esbuild.build({
    ...options,
    absWorkingDir: here,
    entryPoints: names.map((file) => `test/${file}`),
    outbase: "test",
    outdir,
    outExtension: { ".js": ".mjs" },
    platform: "node",
    external: ["happy-dom"],
    sourcemap: "inline",
  });
  const files = names.map((file) => join(outdir, file.replace(/\.ts$/, ".mjs")));
  // What a failed test left open may keep its process from ending: the run has a deadline.
  const run = spawnSync(process.execPath, ["--enable-source-maps", "--test", ...files], { stdio: "inherit", timeout: 300_000 });
  if (run.error) console.error(`Cannot finish the tests: ${run.error.message}.`);
  process.exitCode = run.status ?? 1;
} finally {
  rmSync(outdir, { recursive: true, force: true });
}
