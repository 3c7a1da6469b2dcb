"""The frame of pages that are read and printed: what it lets them load, and that a title is text."""

import base64
import hashlib
import re

from intramural.services.paper import document, moment, pairs, policy_of

STYLE = ".own { color: red; }\n"
SHOWN = document("Wards & <b>beds</b>", STYLE, ["<h1>Wards</h1>", "<p>two</p>"])


def test_the_page_may_use_its_own_sheet_and_nothing_else() -> None:
    [sheet] = re.findall(r"<style>(.*?)</style>", SHOWN, re.DOTALL)
    assert sheet.endswith(STYLE), "its own rules come last, and so count"
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    allowed = f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-{digest}'"
    assert policy_of(STYLE) == allowed
    assert f'<meta http-equiv="Content-Security-Policy" content="{allowed}">' in SHOWN
    assert not re.search(r"<script|https?://|src=|@import|url\(", SHOWN)


def test_titles_and_names_are_text_and_bodies_are_html() -> None:
    assert "<title>Wards &amp; &lt;b&gt;beds&lt;/b&gt;</title>" in SHOWN
    assert "<main>\n<h1>Wards</h1>\n<p>two</p>\n</main>" in SHOWN
    assert pairs([("a & b", "<code>x</code>")]) == "<dl><dt>a &amp; b</dt><dd><code>x</code></dd></dl>"


def test_a_moment_is_told_in_utc_to_the_second() -> None:
    assert moment(1_700_000_000_999) == "2023-11-14 22:13:20 UTC"
