"""Models of engines elsewhere: on no shelf here, with no bytes that anybody here has seen."""

from intramural.core.engines import Remote, RemoteEngine
from intramural.library.blobs import Blob
from intramural.library.manifest import Manifest, ModelFile
from intramural.library.names import parse_name
from intramural.library.shape import Shape

_NOTHING_KNOWN = Shape(
    layers=0,
    heads=0,
    kv_heads=(),
    key_length=0,
    value_length=0,
    embedding_length=0,
    feed_forward_length=0,
    vocabulary_size=0,
)
#: A manifest must have weights. This one's are never opened, shown or named: see `files` and `digest`.
_NO_WEIGHTS = Blob(f"sha256:{0:064}", 1)
_POOLING = {"chat": None, "embedding": "given", "rerank": "rank"}


class Elsewhere(Manifest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known of a model that an engine elsewhere serves: what an administrator wrote down, and no digest."""

    remote: Remote

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """None."""
        return ()

    @property
    def digest(self) -> str:
        """Empty: nobody told."""
        return ""

    @property
    def sees(self) -> bool:
        """As was written down."""
        return self.remote.model.images


def elsewhere(engine: RemoteEngine, added_ms: int) -> list[Elsewhere]:
    """The models of `engine`. Raises Misasked(`bad_model_name`)."""
    return [
        Elsewhere(
            name=parse_name(model.name),
            weights=_NO_WEIGHTS,
            format="remote",
            architecture=f"remote-{engine.kind}",
            parameters=0,
            quantisation="unknown",
            trained_context_tokens=model.context_tokens,
            has_chat_template=model.purpose == "chat",
            template=None,
            template_digest=None,
            pooling=_POOLING[model.purpose],
            licence="unknown",
            source=f"engine:{engine.name}",
            trust="local",
            added_ms=added_ms,
            shape=_NOTHING_KNOWN,
            remote=Remote(engine, model),
        )
        for model in engine.models
    ]
