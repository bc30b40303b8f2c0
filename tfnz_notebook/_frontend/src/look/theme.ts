// What every view needs of its page: the shared style sheet, the dark theme followed live, the static twin hidden.
import sheet from "./theme.css";

/** Puts a style sheet in the page's head, once a page, by name. */
export function useStyle(name: string, css: string): void {
  const id = `tfnz-style-${name}`;
  const there = document.getElementById(id);
  if (there?.textContent === css) return;
  const style = there ?? document.createElement("style");
  style.id = id;
  style.textContent = css; // a newer bundle's, after the kernel was upgraded under an open page
  if (!there) document.head.append(style);
}

/** Whether the page is dark: JupyterLab and Notebook 7 say so, VS Code says so, else the background does. */
export function isDark(): boolean {
  const { body } = document;
  const lab = body.getAttribute("data-jp-theme-light");
  if (lab !== null) return lab === "false";
  if (body.classList.contains("vscode-dark") || body.classList.contains("vscode-high-contrast")) return true;
  if (body.classList.contains("vscode-light")) return false;
  return document.documentElement.getAttribute("theme") === "dark"; // Colab
}

/** Makes `root` a view of ours: class tfnz-view, tfnz-dark as the page is, also when that changes. */
export function themed(root: HTMLElement, signal: AbortSignal, changed?: (dark: boolean) => void): void {
  useStyle("theme", sheet);
  root.classList.add("tfnz-view");
  const apply = (): void => {
    const dark = isDark();
    if (root.classList.contains("tfnz-dark") === dark) return;
    root.classList.toggle("tfnz-dark", dark);
    changed?.(dark);
  };
  apply();
  const observer = new MutationObserver(apply);
  observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class"] });
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ["theme"] });
  signal.addEventListener("abort", () => observer.disconnect(), { once: true });
}

/** So long a view may leave its place to its twin. */
const LATE_MS = 2000;

/**
 * While the live view is in the page, its static twin (class `tfnz-static-<key>`), the output behind it, is not seen; but
 * until the view shows as much, the twin is seen and the view is not: a page that is loaded again does not jump. To be
 * called then is what this returns. A copy of the notebook beside it, which has no view, has its twin seen.
 */
export function replaceTwin(root: HTMLElement, key: unknown, signal: AbortSignal): () => void {
  if (typeof key !== "string" || !/^[\w-]+$/.test(key)) return () => undefined;
  const twin = `.tfnz-static-${key}`;
  const output = ".jp-OutputArea-child";
  const style = document.createElement("style");
  document.head.append(style);
  const shown = (): void => {
    root.classList.remove("tfnz-coming");
    root.dataset["twin"] = key;
    if (style.textContent) return;
    // Where outputs have no such place there is one notebook.
    const beside = document.querySelector(output) ? `${output}:has([data-twin="${key}"])~${output}:has(${twin})` : twin;
    style.textContent = `${beside}{display:none!important}`;
  };
  const late = setTimeout(shown, LATE_MS);
  if (document.querySelector(`${output} ${twin}`)) root.classList.add("tfnz-coming");
  else shown();
  signal.addEventListener("abort", () => (clearTimeout(late), style.remove()), { once: true });
  return shown;
}
