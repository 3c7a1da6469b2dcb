"""What Ollama's clients call a model, and what it is called here. Pure.

They write `llama3.2`, `llama3.2:latest`, `library/llama3.2` and `registry.ollama.ai/library/llama3.2:latest` for the
same one, and capital letters where they like; here one model has one name.
"""

from intramural.core.errors import Misasked
from intramural.library import Reference, parse_name, parse_reference

_HOMES = ("registry.ollama.ai/", "ollama.com/")
#: How sources are spelt that are not Ollama's names.
_KINDS = ("bundle", "file", "hf", "http", "https", "lmstudio", "oci", "oci+http", "ollama", "ollama-store", "package")
_NAMESPACE = "library/"


def canonical(text: str) -> str:
    """The library's name for what a client calls `text`. Raises Misasked(`bad_model_name`).

    A host with a port says where a model came from or goes to, and is no part of its name here.
    """
    name = text.strip().lower()
    host, slash, rest = name.partition("/")
    if slash and ":" in host:
        name = rest
    for home in _HOMES:
        name = name.removeprefix(home)
    if name.count("/") == 1:
        name = name.removeprefix(_NAMESPACE)
    return parse_name(name)


def source_of(text: str, *, is_listed: bool, insecure: bool) -> tuple[str, str | None]:
    """What to pull for what a client calls `text`, and the name to keep it under (None: what the source suggests).

    `is_listed`: the catalogue knows it. Else it is a source as `intramural pull` takes it, or a model of Ollama's
    library or of the registry that its first part names. `insecure` asks that registry without encryption, which only
    one on this machine may be. Raises Misasked(`bad_model_name`).
    """
    kind = text.partition(":")[0]
    if is_listed:
        return text, parse_name(text)
    if kind in _KINDS:
        return text, None
    if insecure:
        return f"oci+http://{text}", canonical(text)
    return f"ollama:{text}", canonical(text)


def push_target(text: str, *, insecure: bool) -> Reference:
    """Where a model that a client calls `text` is to be pushed: its first part names a registry.

    A first part is a registry's if it has a dot or a port, or is this machine, as Docker's tools read it. `insecure`:
    without encryption, which only a registry on this machine may be. Raises Misasked(`push_needs_registry`,
    `bad_source`).
    """
    first, slash, _ = text.partition("/")
    is_registry = "." in first or ":" in first or first == "localhost"
    if not slash or not is_registry or f"{first.lower()}/" in _HOMES:
        raise Misasked(
            "push_needs_registry",
            f"{text[:80]!r} does not name a registry; Ollama's own takes models from accounts at ollama.com only.",
            "Copy the model to registry.example.org/team/model:tag first, and push that.",
            param="model",
        )
    target = parse_reference(text, "http" if insecure else "https")
    if target.digest or target.file:
        raise Misasked("bad_source", "A push goes to a tag.", "Write HOST/MODEL:TAG.", param="model")
    return target


def listed(name: str) -> str:
    """How Ollama would list the model: always with a tag."""
    return name if ":" in name else f"{name}:latest"
