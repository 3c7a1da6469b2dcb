"""A page that is read and printed, and stands alone: one file that needs nothing from anywhere. Pure.

No script, no picture; one sheet of style, which the page's own policy names by its hash. It opens from a disk as from
the service, and asks nothing of anybody.
"""

import base64
import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape

#: What all such pages look like; each adds what only it has.
_STYLE = """
:root { color-scheme: light; --ink: #16181d; --soft: #4a4f57; --line: #c9ccd1; --faint: #f4f5f7;
  --red: #a4161a; --amber: #7a4a00; --green: #1b5e20; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 52rem; padding: 1.5rem 1rem 4rem; color: var(--ink); background: #fff;
  font: 1rem/1.5 system-ui, "Segoe UI", "Liberation Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.25rem 0 .5rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { margin: .5rem 0; }
a { color: inherit; }
.soft { color: var(--soft); }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .25rem 1rem; margin: .5rem 0; }
dt { color: var(--soft); } dd { margin: 0; }
code { font-family: ui-monospace, "Liberation Mono", monospace; font-size: .9em; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  h2, h3 { break-after: avoid; }
}
@page { margin: 16mm; }
"""


def policy_of(style: str) -> str:
    """What a page with this style of its own may load: nothing, and its sheet (Content-Security-Policy)."""
    digest = base64.b64encode(hashlib.sha256((_STYLE + style).encode()).digest()).decode()
    return f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-{digest}'"


def document(title: str, style: str, body: Iterable[str]) -> str:
    """The whole file. `title`: as text; `body`: HTML, escaped by whoever wrote it."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy_of(style)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="robots" content="noindex">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def pairs(named: Iterable[tuple[str, str]]) -> str:
    """Names and what is said of them. The names are text; what is said is HTML."""
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{said}</dd>' for name, said in named)}</dl>"


def moment(time_ms: int) -> str:
    """A time of the log, as anybody anywhere reads it."""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
