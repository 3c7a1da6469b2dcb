/**
 * Markdown to safe blocks, while it is being written.
 *
 * Raw HTML in the text is shown as text. Images are never fetched and links never followed by themselves: both become
 * an element with `data-url`, which the page opens only after asking. Everything then passes `sanitise`.
 */

import { Marked, type Token, type TokenizerAndRendererExtension, type Tokens } from "marked";
import { destination } from "./links";
import { escaped, type SafeHtml, sanitise } from "./sanitise";
import { words } from "./words";

export type Block =
  | { kind: "html"; html: SafeHtml; text: string }
  | { kind: "code"; language: string; code: string; open: boolean };

/** Turns TeX into MathML, or null while the renderer is not loaded or where the formula is wrong. */
export type Tex = (tex: string, display: boolean) => string | null;

interface MathToken extends Tokens.Generic {
  type: "maths";
  tex: string;
  display: boolean;
}

const MATHS_AT_ONCE = 4000; // characters: a longer "formula" is text with a stray dollar sign

const DISPLAYED = /^(?:\$\$([^$][\s\S]*?)\$\$|\\\[([\s\S]+?)\\\])[ \t]*(?:\n+|$)/;
const DISPLAYED_OPEN = /^(?:\$\$|\\\[)[\s\S]*$/;
const INLINE: readonly [RegExp, boolean][] = [
  [/^\$\$([^$][\s\S]*?)\$\$/, true],
  [/^\\\[([\s\S]+?)\\\]/, true],
  [/^\\\(([\s\S]+?)\\\)/, false],
  // A price is no formula: no space inside the dollars' edges, no letter or digit after the last one.
  [/^\$(?!\s)((?:\\[\s\S]|[^\\$\n])+?)(?<![\s\\])\$(?![\w$])/, false],
];

function mathsBlock(stillWriting: () => boolean): TokenizerAndRendererExtension {
  return {
    name: "maths",
    level: "block",
    start: (source) => {
      const at = source.search(/\n {0,3}(?:\$\$|\\\[)/);
      return at < 0 ? undefined : at + 1;
    },
    tokenizer(source): MathToken | undefined {
      const found = DISPLAYED.exec(source);
      if (found) return { type: "maths", raw: found[0], tex: (found[1] ?? found[2] ?? "").trim(), display: true };
      const open = stillWriting() && source.length < MATHS_AT_ONCE ? DISPLAYED_OPEN.exec(source) : null;
      if (open) return { type: "maths", raw: open[0], tex: open[0].slice(2).trim(), display: true, open: true };
      return undefined;
    },
  };
}

const mathsInline: TokenizerAndRendererExtension = {
  name: "mathsInline",
  level: "inline",
  start: (source) => {
    const at = source.search(/\$|\\[([]/);
    return at < 0 ? undefined : at;
  },
  tokenizer(source) {
    for (const [pattern, display] of INLINE) {
      const found = pattern.exec(source);
      if (found && found[0].length < MATHS_AT_ONCE)
        return { type: "mathsInline", raw: found[0], tex: (found[1] ?? "").trim(), display };
    }
    return undefined;
  },
};

function linkLike(kind: "link" | "image", address: string, inner: string): string {
  const leadsTo = destination(address);
  if (leadsTo === null) return `${inner} <span class="address">(${escaped(address)})</span>`;
  return `<a class="${kind}" role="link" tabindex="0" data-kind="${kind}" data-url="${escaped(leadsTo.href)}">${inner}</a>`;
}

/** Compiles growing text; only what may still change is parsed again. */
export class MarkdownStream {
  #marked: Marked;
  #tex: Tex;
  #writing = false;
  #source = "";
  #settled: Block[] = [];
  #last: Block[] = [];
  #finished = false;
  /** Depths of the headings that the next one would be under. */
  #under: number[] = [];

  constructor(tex: Tex = () => null) {
    this.#tex = tex;
    const level = (depth: number): number => this.#level(depth);
    this.#marked = new Marked({ gfm: true, breaks: false });
    this.#marked.use({
      extensions: [
        { ...mathsBlock(() => this.#writing), renderer: (token) => this.#formula(token) },
        { ...mathsInline, renderer: (token) => this.#formula(token) },
      ],
      renderer: {
        html: ({ text }) => escaped(text),
        heading({ tokens, depth }) {
          const name = `h${level(depth)}`;
          return `<${name}>${this.parser.parseInline(tokens)}</${name}>\n`;
        },
        link({ href, tokens }) {
          return linkLike("link", href, this.parser.parseInline(tokens));
        },
        image({ href, text }) {
          const leadsTo = destination(href);
          const name = `<span class="image-name">${escaped(text || words.message.imageUnnamed)}</span>`;
          const where = leadsTo === null ? "" : ` <span class="address">${escaped(leadsTo.href)}</span>`;
          return linkLike("image", href, `<span class="image-note">${words.message.imageNote}</span> ${name}${where}`);
        },
        checkbox: ({ checked }) =>
          `<span class="tick" role="img" aria-label="${checked ? words.message.done : words.message.notDone}">${checked ? "☑" : "☐"}</span> `,
        code: ({ text }) => `<pre tabindex="0"><code>${escaped(text)}</code></pre>\n`,
      },
    });
  }

  /** The blocks of `text`; `finished` when nothing more will be written. */
  blocks(text: string, finished: boolean): Block[] {
    if (finished) {
      if (this.#finished && text === this.#source) return this.#last;
      this.#start();
      this.#writing = false;
      // Once more as a whole: a link definition at the end may belong to the beginning.
      this.#last = this.#compile(this.#marked.lexer(text), false);
      this.#finished = true;
      this.#source = text;
      return this.#last;
    }
    if (this.#finished || !text.startsWith(this.#source)) this.#start();
    this.#writing = true;
    const tokens = this.#marked.lexer(text.slice(this.#source.length)).filter((token, at, all) => {
      return token.type !== "space" || at < all.length - 1;
    });
    const open = tokens.pop();
    for (const token of tokens) this.#source += token.raw;
    this.#settled.push(...this.#compile(tokens, false));
    const growing = open === undefined ? [] : this.#growing(open);
    this.#last = [...this.#settled, ...growing];
    return this.#last;
  }

  #start(): void {
    this.#source = "";
    this.#settled = [];
    this.#last = [];
    this.#finished = false;
    this.#under = [];
  }

  #growing(token: Token): Block[] {
    const settled = [...this.#under];
    const whole = token.type === "code" || token.type === "maths" || token.type === "table";
    const blocks = this.#compile(whole ? [token] : this.#marked.lexer(mended(token.raw)), true);
    this.#under = settled;
    return blocks;
  }

  /** The page's own headings are levels 1 and 2; a model's begin at 3 and never leave a level out. */
  #level(depth: number): number {
    while ((this.#under.at(-1) ?? 0) >= depth) this.#under.pop();
    this.#under.push(depth);
    return Math.min(2 + this.#under.length, 6);
  }

  #compile(tokens: Token[], open: boolean): Block[] {
    const blocks: Block[] = [];
    for (const token of tokens) {
      if (token.type === "space" || token.type === "def") continue;
      if (token.type === "code") {
        const code = token as Tokens.Code;
        blocks.push({ kind: "code", language: (code.lang ?? "").split(/[\s,{]/)[0] ?? "", code: code.text, open });
        continue;
      }
      let html = this.#marked.parser([token]);
      if (token.type === "table")
        html = `<div class="wide" role="region" tabindex="0" aria-label="${words.message.table}">${html}</div>`;
      blocks.push({ kind: "html", html: sanitise(html), text: plain(token) });
    }
    return blocks;
  }

  #formula(token: Tokens.Generic): string {
    const rendered = token.open ? null : this.#tex(token.tex, token.display);
    const kind = token.display ? "maths display" : "maths";
    const attributes = token.display ? ` tabindex="0" role="group" aria-label="${words.message.formula}"` : "";
    return `<span class="${kind}"${attributes}>${rendered ?? `<code>${escaped(token.tex)}</code>`}</span>`;
  }
}

/** The words of a token, for announcing them. */
function plain(token: Token): string {
  if ("tokens" in token && token.tokens) return token.tokens.map(plain).join("");
  if (token.type === "list") return (token as Tokens.List).items.map((item) => `${plain(item)}\n`).join("");
  if (token.type === "table") {
    const table = token as Tokens.Table;
    return [table.header, ...table.rows].map((row) => row.map((cell) => cell.text).join(", ")).join("\n");
  }
  return "text" in token && typeof token.text === "string" ? token.text : "";
}

/** Closes what a half-written passage has opened, so that nothing flickers between raw and rendered. */
export function mended(passage: string): string {
  const at = passage.lastIndexOf("\n\n") + 1;
  const before = passage.slice(0, at);
  let last = passage.slice(at);
  if (count(last, /`/g) % 2 === 1) return `${before}${last.replace(/`+$/, "")}${/`+$/.test(last) ? "" : "`"}`;
  last = last.replace(/!?\[([^\]\n]*)\]\([^)\n]*$/, "$1").replace(/(^|[^\\])!?\[([^\]\n]*)$/, "$1$2");
  const outside = last.replace(/`[^`]*`/g, "").replace(/^\s*[*+-]\s/gm, "");
  if (count(outside, /\*\*/g) % 2 === 1)
    return before + (/\*\*\s*$/.test(last) ? last.replace(/\*\*\s*$/, "") : `${last.replace(/\s*\*?$/, "")}**`);
  if (count(outside.replace(/\*\*/g, ""), /\*(?=\S)|(?<=\S)\*/g) % 2 === 1)
    return before + (/\*\s*$/.test(last) ? last.replace(/\*\s*$/, "") : `${last.trimEnd()}*`);
  return before + last;
}

const count = (text: string, pattern: RegExp): number => text.match(pattern)?.length ?? 0;
