"""The built page names nobody else: every address in every file that is served is one of a few that nothing fetches."""

import re
from pathlib import PurePosixPath

import pytest

from intramural.web.static import DIST, read

#: Host → why it stands there. None of them is ever asked for anything.
INERT = {
    "www.w3.org": "names of XML namespaces",
    "svelte.dev": "in the texts of errors",
    "github.com": "in the texts of errors",
    "cv.iptc.org": "the name of a kind of origin (IPTC), in what is exported",
    "registry.example.org": "an example to type after",
}
#: What leads somewhere without a scheme of its own, or past the policy for connections.
BY_ANOTHER_WAY = ("RTCPeerConnection", "importScripts", "serviceWorker", "dns-prefetch", "preconnect", "sendBeacon")
_ADDRESS = re.compile(r"(?:(?:https?|wss?|ftp):)?//((?:[a-z0-9-]+\.)+[a-z]{2,}|\d+\.\d+\.\d+\.\d+)", re.IGNORECASE)


def texts() -> dict[str, str]:
    return {name: file.content.decode() for name, file in read(DIST).items()}


def test_what_is_looked_for_is_found() -> None:
    for found in ('"https://cdn.example.com/x.js"', "url(//fonts.example.com/a)", "http://198.51.100.7/"):
        assert _ADDRESS.search(found), found


def test_no_file_names_anybody_who_would_be_asked() -> None:
    served = texts()
    assert "index.html" in served and len(served) > 20
    for name, text in served.items():
        hosts = set(_ADDRESS.findall(text))
        allowed = INERT if PurePosixPath(name).suffix == ".js" else {"www.w3.org"}
        assert hosts <= set(allowed), f"{name} names {hosts - set(allowed)}"


@pytest.mark.parametrize("way", BY_ANOTHER_WAY)
def test_no_file_has_another_way_out(way: str) -> None:
    assert not [name for name, text in texts().items() if way in text]


def test_styles_load_only_what_is_beside_them() -> None:
    for name, text in texts().items():
        if name.endswith(".css"):
            assert "@import" not in text, name
            for inside in re.findall(r"url\(([^)]*)\)", text):
                assert inside.strip("'\"").startswith(("data:", "./", "#")), f"{name}: {inside}"
