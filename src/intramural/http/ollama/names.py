"""What Ollama's clients call a model, and what it is called here. Pure.

They write `llama3.2`, `llama3.2:latest`, `library/llama3.2` and `registry.ollama.ai/library/llama3.2:latest` for the
same one, and capital letters where they like; here one model has one name.
"""

from intramural.library import parse_name

_HOMES = ("registry.ollama.ai/", "ollama.com/")
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


def listed(name: str) -> str:
    """How Ollama would list the model: always with a tag."""
    return name if ":" in name else f"{name}:latest"
