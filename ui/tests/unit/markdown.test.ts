import { describe, expect, it } from "vitest";
import { formula } from "../../src/lib/formulas";
import { highlight } from "../../src/lib/highlight";
import { destination } from "../../src/lib/links";
import { type Block, MarkdownStream, mended } from "../../src/lib/markdown";
import { sanitise } from "../../src/lib/sanitise";
import { ATTACKS } from "../attacks.mjs";

/** The blocks of a finished text as one document. */
function rendered(text: string): HTMLElement {
  const node = document.createElement("div");
  node.innerHTML = htmlOf(new MarkdownStream(formula).blocks(text, true));
  return node;
}

function htmlOf(blocks: Block[]): string {
  return blocks
    .map((block) =>
      block.kind === "html" ? block.html : `<pre>${sanitise(highlight(block.code, block.language) ?? "")}</pre>`,
    )
    .join("\n");
}

const NEVER =
  "script,style,iframe,object,embed,form,input,button,img,svg,video,audio,source,link,meta,base,template,details,marquee,textarea,select,noscript,mglyph,annotation-xml,annotation,semantics";

/** Everything about a piece of a document that could run, fetch, navigate or disguise. */
function harm(node: HTMLElement): string[] {
  const found: string[] = [];
  for (const bad of node.querySelectorAll(NEVER)) found.push(`<${bad.localName}>`);
  for (const element of node.querySelectorAll("*"))
    for (const { name, value } of element.attributes) {
      if (/^on|^style$|^srcdoc$|^formaction$|^id$|^name$/i.test(name)) found.push(`${element.localName}.${name}`);
      if (/^(?:xlink:)?href$|^(?:image)?src(?:set)?$|^action$|^data$|^background$|^poster$|^ping$/i.test(name))
        found.push(`${element.localName}.${name}`);
      if (name === "data-url" && destination(value) === null) found.push(`data-url=${value}`);
    }
  return found;
}

describe("hostile markup", () => {
  it.each(ATTACKS.map(({ name, text }) => [name, text]))("is harmless: %s", (_name, text) => {
    expect(harm(rendered(text))).toEqual([]);
  });

  it.each(ATTACKS.map(({ name, text }) => [name, text]))(
    "is harmless at every moment of being written: %s",
    (_name, text) => {
      const stream = new MarkdownStream(formula);
      const node = document.createElement("div");
      for (let end = 1 + (text.length % 3); end <= text.length; end += 3) {
        node.innerHTML = htmlOf(stream.blocks(text.slice(0, end), false));
        expect(harm(node)).toEqual([]);
      }
    },
  );

  it.each(ATTACKS.map(({ name, text }) => [name, text]))("the sanitiser alone holds as well: %s", (_name, text) => {
    const node = document.createElement("div");
    node.innerHTML = sanitise(text);
    expect(harm(node)).toEqual([]);
    // A second parse must not find what the first did not (mutation).
    const again = document.createElement("div");
    again.innerHTML = node.innerHTML;
    expect(harm(again)).toEqual([]);
  });

  it("shows raw HTML as the text it is", () => {
    expect(rendered('<img src=x onerror="alert(1)">').textContent).toContain('<img src=x onerror="alert(1)">');
    expect(rendered("a <b>bold</b> claim").textContent?.trim()).toBe("a <b>bold</b> claim");
  });

  it("keeps a wrong formula readable", () => {
    expect(rendered("$\\frac{1}{$ and $x$").textContent).toContain("\\frac{1}{");
  });
});

describe("links and pictures", () => {
  it("ask first: an address in data-url, none in href", () => {
    const link = rendered("[docs](https://example.org/a?b=c&d)").querySelector("a");
    expect(link?.dataset.url).toBe("https://example.org/a?b=c&d");
    expect(link?.hasAttribute("href")).toBe(false);
    expect(link?.getAttribute("role")).toBe("link");
    expect(link?.tabIndex).toBe(0);
  });

  it("a picture is a placeholder with its name and address", () => {
    const node = rendered("![A chart](https://tracker.example.com/p.png)");
    expect(node.querySelector("img")).toBeNull();
    const place = node.querySelector<HTMLElement>("a.image");
    expect(place?.textContent).toContain("A chart");
    expect(place?.textContent).toContain("https://tracker.example.com/p.png");
    expect(place?.dataset.kind).toBe("image");
  });

  it("an address of another kind stays text", () => {
    const node = rendered("[x](javascript:alert(1)) [y](/relative) [z](ftp://host/a)");
    expect(node.querySelector("a")).toBeNull();
    expect(node.textContent).toContain("javascript:alert(1)");
  });

  it("says where an address really leads", () => {
    expect(destination("https://bank.example@evil.example/")).toMatchObject({ host: "evil.example", disguised: true });
    expect(destination("https://exаmple.org/")?.host).toMatch(/^xn--/);
    expect(destination("mailto:a@example.org")).toMatchObject({ host: "a@example.org", mail: true });
    for (const bad of [
      "",
      "javascript:alert(1)",
      " JAVASCRIPT:alert(1)",
      "data:text/html,x",
      "blob:x",
      "//host/x",
      "file:///etc/passwd",
      "\u0001javascript:x",
    ])
      expect(destination(bad)).toBeNull();
  });
});

describe("what markdown means", () => {
  it("headings begin below the page's own and leave no level out", () => {
    const node = rendered("## Two\n\n#### Four\n\n###### Six\n\n### Three\n\n# One\n\n## Two");
    expect([...node.children].map((child) => child.localName)).toEqual(["h3", "h4", "h5", "h4", "h3", "h4"]);
  });

  it("code keeps its language and its text", () => {
    const [block] = new MarkdownStream().blocks("```python title=x\nprint('<b>')\n```", true);
    expect(block).toEqual({ kind: "code", language: "python", code: "print('<b>')", open: false });
  });

  it("formulas in all four ways of writing, and prices as prices", () => {
    for (const text of ["$x^2$", "\\(x^2\\)", "$$x^2$$", "\\[x^2\\]", "so:\n\\[\nx^2\n\\]\nand", "$$\n\na\n\n+b\n$$"])
      expect(rendered(text).querySelector("math"), text).not.toBeNull();
    for (const text of ["It costs $5 and $10.", "from $5-$10", "a $ b $ c", "`$x$`", "US$5 und US$6"])
      expect(rendered(text).querySelector("math"), text).toBeNull();
  });

  it("formulas carry no annotation and no style", () => {
    const math = rendered("$\\color{red}{x} \\quad \\begin{matrix}a&b\\\\c&d\\end{matrix}$").querySelector("math");
    expect(math?.textContent).not.toContain("color");
    expect(math?.outerHTML).not.toContain(" style=");
  });

  it("tables can be scrolled by keyboard", () => {
    const region = rendered("| a | b |\n|---|--:|\n| 1 | 2 |").querySelector<HTMLElement>("[role=region]");
    expect(region?.tabIndex).toBe(0);
    expect(region?.querySelector("td[align=right]")?.textContent).toBe("2");
  });
});

const LONG = [
  "# Title",
  "",
  "Some **bold** and *soft* words with `code` and [a link](https://example.org).",
  "",
  "1. one",
  "2. two",
  "",
  "   still two",
  "",
  "```js",
  "const a = 1;",
  "",
  "// after an empty line",
  "```",
  "",
  "$$",
  "a",
  "",
  "+ b",
  "$$",
  "",
  "| a | b |",
  "| - | - |",
  "| 1 | 2 |",
  "",
  "Setext",
  "===",
  "",
  "- [ ] open",
  "- [x] done",
  "",
  "The end, see [ref].",
  "",
  "[ref]: https://example.org/ref",
].join("\n");

describe("growing text", () => {
  it("ends as the whole text would have been", () => {
    const stream = new MarkdownStream(formula);
    for (let end = 1; end < LONG.length; end++) stream.blocks(LONG.slice(0, end), false);
    expect(stream.blocks(LONG, true)).toEqual(new MarkdownStream(formula).blocks(LONG, true));
  });

  it("never changes a block that another one has followed", () => {
    const stream = new MarkdownStream(formula);
    let before: Block[] = [];
    for (let end = 1; end <= LONG.length; end++) {
      const now = stream.blocks(LONG.slice(0, end), false);
      const settled = before.slice(0, -1);
      expect(now.slice(0, settled.length)).toEqual(settled);
      before = now;
    }
  });

  it("starts over when the text is another one", () => {
    const stream = new MarkdownStream();
    stream.blocks("one\n\ntwo\n\nthree", false);
    expect(htmlOf(stream.blocks("four", false))).toContain("four");
    expect(htmlOf(stream.blocks("four", true))).not.toContain("one");
  });

  it("parses only what may still change", () => {
    const text = "A paragraph with **some** words and `code`.\n\n".repeat(80);
    let parsed = 0;
    const stream = new MarkdownStream(() => {
      parsed++;
      return null;
    });
    for (let end = 40; end < text.length; end += 40) stream.blocks(`${text.slice(0, end)} $x$`, false);
    // Each step parses its own last paragraph, not the eighty before.
    expect(parsed).toBeLessThan((text.length / 40) * 4);
  });
});

describe("mended", () => {
  it.each([
    ["**bo", "**bo**"],
    ["**", ""],
    ["a **bold** and **mo", "a **bold** and **mo**"],
    ["*it", "*it*"],
    ["`co", "`co`"],
    ["a `code", "a `code`"],
    ["see [the do", "see the do"],
    ["see [the docs](https://exa", "see the docs"],
    ["![pic](https://exa", "pic"],
    ["- *one", "- *one*"],
    ["* item", "* item"],
    ["2 * 3 = 6", "2 * 3 = 6"],
    ["plain", "plain"],
    ["done **x**\n\nnew *y", "done **x**\n\nnew *y*"],
  ])("%j becomes %j", (given, expected) => {
    expect(mended(given)).toBe(expected);
  });
});
