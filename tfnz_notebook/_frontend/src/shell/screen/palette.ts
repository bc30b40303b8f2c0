// The terminal's colours, from the page's.
import type { ITheme } from "@xterm/xterm";

type Rgb = [number, number, number];

// The sixteen colours of palette.css: black, red, green, yellow, blue, magenta, cyan, white; then bright. But for black on
// a dark ground: programs write with it upon the others.
const ON_LIGHT =
  "000000 c62828 1a7f37 946200 0a5bc4 8e3fae 0f7680 6e7781 57606a d1372c 1f8f3d a56d00 2f74dd a63ba3 0e8a9f 8c959f";
const ON_DARK =
  "3b3f46 ff7b72 56d364 e3b341 79b8ff d2a8ff 56d4dd c9d1d9 8b949e ffa198 7ee787 f2cc60 a5d6ff e2c5ff 8de4ea f6f8fa";
const NAMES = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"] as const;

/** `rgb(…)` or `rgba(…)`, as getComputedStyle gives colours, upon a ground; undefined for one that is see-through, or none. */
export function parsed(colour: string, ground?: Rgb): Rgb | undefined {
  const numbers = colour.match(/[\d.]+/g)?.map(Number) ?? [];
  const [red, green, blue, alpha = 1] = numbers;
  if (red === undefined || green === undefined || blue === undefined || alpha < 0.5) return undefined;
  const mixed = (each: number, under = each): number => Math.round(alpha * each + (1 - alpha) * under);
  return [mixed(red, ground?.[0]), mixed(green, ground?.[1]), mixed(blue, ground?.[2])];
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
  const text = parsed(foreground, ground) ?? (light ? [33, 33, 33] : [224, 224, 224]);
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
