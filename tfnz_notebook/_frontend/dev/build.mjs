// dev/harness.ts → dev/harness.js (git-ignored), a classic script: harness.html opens from the disk.
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { esbuild, options } from "../esbuild.mjs";

const absWorkingDir = dirname(fileURLToPath(import.meta.url));
await esbuild.build({ ...options, format: "iife", absWorkingDir, entryPoints: ["harness.ts"], outfile: "harness.js" });
