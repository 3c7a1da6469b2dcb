"""The source in docs/add-a-source.md is what the page says: it is run from there, and held to the contract."""

import re
from pathlib import Path

import msgspec
import pytest
from tests.fakes.source import blob_of
from tests.library.test_source_contract import (
    BODY,
    REACH,
    AsyncIterator,
    Counterpart,
    Reply,
    Request,
    Source,
    SourceContract,
    WebServer,
    file_reply,
    serving,
)

#: What the page's second piece of code may take for granted.
__all__ = [
    "BODY", "REACH", "AsyncIterator", "Counterpart", "Reply", "Request", "Source", "SourceContract", "WebServer",
    "blob_of", "file_reply", "msgspec", "pytest", "serving",
]  # fmt: skip

PAGE = (Path(__file__).parents[2] / "docs/add-a-source.md").read_text("utf-8")
for _code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
    exec(compile(_code, "docs/add-a-source.md", "exec"), globals())  # defines VaultSource, then TestVault


def test_the_page_has_both() -> None:
    assert {"VaultSource", "TestVault"} <= set(globals())
