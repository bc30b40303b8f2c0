// The terminal's colours, from the page's.
import type { ITheme } from "@xterm/xterm";

type Rgb = [number, number, number];

// Sixteen colours that are readable on each ground: black, red, green, yellow, blue, magenta, cyan, white; then bright.
const ON_LIGHT =
  "000000 b3261e 17722f 8a5a00 1f5fbf 8e2a8b 0b7285 6b6b6b 555555 d1372c 1f8f3d a56d00 2f74dd a63ba3 0e8a9f 8c8c8c";
const ON_DARK =
  "3b3f46 f2777a 7fc98a e6c275 7aa6f0 c99ae0 66c5cc d0d4da 7c828c ff9a9c a3e0ab f3d694 9dbff7 dcb6ee 8fdde3 ffffff";
const NAMES = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"] as const;

/** `rgb(…)` or `rgba(…)`, as getComputedStyle gives colours; undefined for one that is see-through, or none. */
export function parsed(colour: string): Rgb | undefined {
  const numbers = colour.match(/[\d.]+/g)?.map(Number) ?? [];
  const [red, green, blue, alpha = 1] = numbers;
  if (red === undefined || green === undefined || blue === undefined || alpha < 0.5) return undefined;
  return [red, green, blue];
}

function luminance([red, green, blue]: Rgb): number {
  return (0.299 * red + 0.587 * green + 0.114 * blue) / 255;
}

const hex = (rgb: Rgb): string =>
  `#${rgb.map((each) => Math.round(each).toString(16).padStart(2, "0")).join("")}`;

/** A theme for this background and foreground (as getComputedStyle gives them). */
export function theme(background: string, foreground: string): ITheme {
  const ground = parsed(background) ?? [255, 255, 255];
  const light = luminance(ground) > 0.5;
  const text = parsed(foreground) ?? (light ? [33, 33, 33] : [224, 224, 224]);
  const found: Record<string, string> = {
    background: hex(ground),
    foreground: hex(text),
    cursor: hex(text),
    cursorAccent: hex(ground),
    selectionBackground: light ? "#1f5fbf40" : "#7aa6f059",
    selectionInactiveBackground: light ? "#00000026" : "#ffffff33",
    scrollbarSliderBackground: light ? "#00000033" : "#ffffff33",
    scrollbarSliderHoverBackground: light ? "#00000059" : "#ffffff59",
    scrollbarSliderActiveBackground: light ? "#00000080" : "#ffffff80",
  };
  const colours = (light ? ON_LIGHT : ON_DARK).split(" ");
  NAMES.forEach((name, index) => {
    found[name] = `#${colours[index]}`;
    found[`bright${name[0]!.toUpperCase()}${name.slice(1)}`] = `#${colours[index + 8]}`;
  });
  return found;
}

/** Call `changed` when the page may look different now, until `signal`. */
export function watch(changed: () => void, signal: AbortSignal): void {
  // Lab loads a theme's style sheet, then says so on the body; VS Code puts classes there; others follow the system.
  const observer = new MutationObserver(changed);
  const options = { attributes: true, attributeFilter: ["class", "style", "data-jp-theme-name", "data-jp-theme-light"] };
  observer.observe(document.body, options);
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ["class", "style", "data-theme"] });
  signal.addEventListener("abort", () => observer.disconnect());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed, { signal });
}
