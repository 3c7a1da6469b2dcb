"""What a model in a registry is called. Pure: text in, checked parts out; only these parts ever become an address.

`HOST[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST][#FILE.gguf]`, as in the OCI distribution-spec 1.1, with capital letters
allowed in the repository because Ollama's protocol has them.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from intramural.core.errors import Misasked, Untrusted
from intramural.library.blobs import parse_digest
from intramural.library.names import suggest_name
from intramural.library.sources.sets import SUFFIX, plain_name

OLLAMA_REGISTRY: Final = "registry.ollama.ai"
OLLAMA_NAMESPACE: Final = "library"
#: Where Docker's registry answers, which people call by another name.
_REAL_HOSTS: Final = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}
#: What Ollama lets a host, namespace, model or tag be called. It cannot begin with a dot, so `..` is none.
_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_MAX_REPOSITORY: Final = 255


@dataclass(frozen=True, slots=True)
class Reference:
    """One model in one registry. `digest` is the manifest's, if it was asked for by that; `file` picks one of several.

    `text` is how a person would write it (after `kind:`): what the manifest of the library says it came from.
    """

    scheme: Literal["https", "http"]
    host: str
    repository: str
    tag: str
    digest: str | None
    file: str | None
    text: str

    @property
    def manifest(self) -> str:
        """What to ask the registry for."""
        return self.digest or self.tag

    @property
    def model(self) -> str:
        """The last part of the repository's name."""
        return self.repository.rpartition("/")[2]

    def url(self, kind: Literal["manifests", "blobs"], which: str) -> str:
        """The address of a manifest (by tag or digest) or a blob (by digest)."""
        host = _REAL_HOSTS.get(self.host.lower(), self.host)
        return f"{self.scheme}://{host}/v2/{self.repository}/{kind}/{which}"


class OllamaName:
    """`[[host/]namespace/]model[:tag]`, as Ollama reads it. Raises Misasked(`bad_source`)."""

    def __init__(self, text: str) -> None:
        path, mark, tag = text.rpartition(":")
        if not mark or "/" in tag:  # what follows the last colon may be a port and a path
            path, tag = text, "latest"
        parts = path.split("/")
        named = all(_PART.fullmatch(part) for part in (*parts[-2:], tag))
        if len(parts) > 3 or not named or (len(parts) == 3 and not _HOST.fullmatch(parts[0])):
            raise _bad(text, "Write a name as `ollama list` shows it, such as llama3.2:3b.")
        defaults = (OLLAMA_REGISTRY, OLLAMA_NAMESPACE)
        self.host, self.namespace, self.model = (*defaults[: 3 - len(parts)], *parts)
        self.tag = tag

    def __str__(self) -> str:
        parts = [self.host, self.namespace, self.model]
        defaults = [OLLAMA_REGISTRY, OLLAMA_NAMESPACE]
        while defaults and parts[0] == defaults[0]:
            parts, defaults = parts[1:], defaults[1:]
        return f"{'/'.join(parts)}:{self.tag}"


def parse_reference(text: str, scheme: Literal["https", "http"] = "https") -> Reference:
    """What `oci://TEXT` names. Raises Misasked(`bad_source`)."""
    hint = "Write oci://registry.example.org/group/model:tag, or …@sha256:<digest>."
    name, digest, file = _split(text, hint)
    host, _, path = name.partition("/")
    repository, mark, tag = path.partition(":")
    segments = repository.split("/")
    named = all(_SEGMENT.fullmatch(each) for each in segments) and len(repository) <= _MAX_REPOSITORY
    if not _HOST.fullmatch(host) or not named or (mark and not _TAG.fullmatch(tag)):
        raise _bad(text, hint)
    return Reference(scheme, host.lower(), repository, tag if mark else "latest", digest, file, f"//{text}")


def parse_ollama(text: str) -> Reference:
    """What `ollama:TEXT` names. Raises Misasked(`bad_source`)."""
    spoken, digest, file = _split(text, "Write a name as `ollama list` shows it, such as llama3.2:3b.")
    name = OllamaName(spoken)
    shown = str(name) + (f"@{digest}" if digest else "") + (f"#{file}" if file else "")
    return Reference("https", name.host.lower(), f"{name.namespace}/{name.model}", name.tag, digest, file, shown)


def stem_of(name: Reference | OllamaName) -> str:
    """What files of this model are called that have no name of their own."""
    return name.model if name.tag == "latest" else f"{name.model}-{name.tag}"


def suggestion_of(name: Reference | OllamaName) -> str:
    """A name to keep the model under, in the library's grammar: `Llama-3.2-GGUF:Q4_K_M` in lower case."""
    if name.tag == "latest":
        return suggest_name(name.model)
    parts = (name.model, name.tag)
    cleaned = [re.sub("[^a-z0-9._-]+", "-", part.lower()).strip("._-")[:60].strip("._-") for part in parts]
    return ":".join(part for part in cleaned if part) or "model"


def _split(text: str, hint: str) -> tuple[str, str | None, str | None]:
    """(name, digest, file): what stands before `@`, between that and `#`, and after it."""
    text, mark, file = text.partition("#")
    name, at, digest = text.partition("@")
    try:
        if mark and plain_name(file) != file:
            raise _bad(file, "What follows # is the name of one GGUF file.")
        if at:
            parse_digest(digest)
    except Untrusted as error:
        raise _bad(text, hint) from error
    if mark and not file.lower().endswith(SUFFIX):
        raise _bad(file, "What follows # is the name of one GGUF file.")
    return name, digest if at else None, file if mark else None


def _bad(text: str, hint: str) -> Misasked:
    return Misasked("bad_source", f"{text[:80]!r} is not the name of a model in a registry.", hint, param="source")
