/** The only place that makes `SafeHtml`, and `SafeHtml` is the only thing the page inserts as HTML. */

import DOMPurify from "dompurify";

declare const safe: unique symbol;
export type SafeHtml = string & { [safe]: true };

const TAGS = [
  ..."p br hr h3 h4 h5 h6 ul ol li blockquote pre code em strong del sub sup a span div".split(" "),
  ..."table thead tbody tr th td".split(" "),
  // MathML as the formula renderer writes it: presentation only, no links, no actions, no annotations.
  ..."math mrow mi mn mo ms mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover".split(" "),
  ..."mmultiscripts mtable mtr mtd mstyle mpadded mphantom menclose merror".split(" "),
];

const ATTRIBUTES = [
  ..."class start align colspan rowspan role tabindex aria-label aria-haspopup title data-url data-kind".split(" "),
  ..."display mathvariant stretchy fence separator lspace rspace minsize maxsize accent accentunder linethickness".split(
    " ",
  ),
  ..."columnalign rowspacing columnspacing columnlines rowlines width height depth voffset scriptlevel".split(" "),
  ..."displaystyle mathcolor mathbackground mathsize movablelimits symmetric largeop notation".split(" "),
];

const CONTENT_GOES_TOO = [
  ..."annotation annotation-xml script style template iframe noembed noframes noscript plaintext title xmp".split(" "),
  ..."svg video audio object embed form textarea select".split(" "),
];

/** Cleans a piece of HTML down to an allow-list of elements and attributes. No URL attribute is on the list. */
export function sanitise(html: string): SafeHtml {
  return DOMPurify.sanitize(html, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    ALLOW_UNKNOWN_PROTOCOLS: false,
    FORBID_CONTENTS: CONTENT_GOES_TOO,
    SANITIZE_DOM: true,
    RETURN_TRUSTED_TYPE: false,
  }) as SafeHtml;
}

const ESCAPES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** Text as HTML that shows exactly that text. */
export const escaped = (text: string): string => text.replace(/[&<>"']/g, (char) => ESCAPES[char] ?? char);
