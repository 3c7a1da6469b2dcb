/** The heavy parts of an answer — formulas and coloured code — fetched from this server when the first one is seen. */

import { type SafeHtml, sanitise } from "./sanitise";

type Highlighter = (code: string, language: string) => string | null;
type Formulas = (tex: string, display: boolean) => string | null;

class Lazy<T> {
  loaded = $state.raw<T | null>(null);
  #asked = false;

  constructor(private readonly load: () => Promise<T>) {}

  /** What was loaded; asks for it the first time. Reading it in an effect or template reacts to its arrival. */
  want(): T | null {
    if (!this.#asked) {
      this.#asked = true;
      this.load().then(
        (value) => {
          this.loaded = value;
        },
        () => {
          this.#asked = false; // an answer stays readable without it
        },
      );
    }
    return this.loaded;
  }
}

const highlighter = new Lazy<Highlighter>(async () => (await import("./highlight")).highlight);
const formulas = new Lazy<Formulas>(async () => (await import("./formulas")).formula);

const LONGEST = 60_000;
const kept = new Map<string, string | null>();

/** TeX as MathML, or null while that is not possible. */
export function tex(source: string, display: boolean): string | null {
  const render = formulas.want();
  if (render === null) return null;
  const key = (display ? "D" : "I") + source;
  let html = kept.get(key);
  if (html === undefined) {
    html = render(source, display);
    if (kept.size > 500) kept.clear();
    kept.set(key, html);
  }
  return html;
}

/** `tex`, in a way that whoever asked is asked again once formulas can be rendered. */
export function texNow(): Formulas {
  void formulas.loaded;
  return tex;
}

/** Code with colours, or null where there are none (unknown language, very long, not loaded yet). */
export function coloured(code: string, language: string): SafeHtml | null {
  if (language === "" || code.length > LONGEST) return null;
  const html = highlighter.want()?.(code, language) ?? null;
  return html === null ? null : sanitise(html);
}
