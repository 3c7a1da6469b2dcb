import katex from "katex";

/** TeX as presentation MathML without inline styles; null where it is not valid TeX. */
export function formula(tex: string, display: boolean): string | null {
  try {
    const html = katex.renderToString(tex, {
      displayMode: display,
      output: "mathml",
      throwOnError: true,
      strict: "ignore",
      trust: false,
      maxSize: 20,
      maxExpand: 300,
    });
    return html;
  } catch {
    return null;
  }
}
