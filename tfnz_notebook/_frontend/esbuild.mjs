// What the build and the tests share: how a TypeScript file becomes one ES module.
import { readFile } from "node:fs/promises";
import * as esbuild from "esbuild";

/** `import css from "./x.css"` is the style sheet's text, minified; the view puts it in a <style> itself. */
const cssText = {
  name: "css-text",
  setup(build) {
    build.onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const { code } = await esbuild.transform(await readFile(path, "utf8"), { loader: "css", minify: true });
      return { contents: code.trim(), loader: "text" };
    });
  },
};

export const options = {
  bundle: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
  plugins: [cssText],
};

export { esbuild };
