"""What the log says of a model that came onto the shelf, whichever way it came."""

from intramural.audit import Event, Fact
from intramural.library import Manifest


def arrival(manifest: Manifest) -> tuple[Event, dict[str, Fact]]:
    """The event and its facts: of a model that nobody may load yet, also what was found about it."""
    facts: dict[str, Fact] = {
        "weights": manifest.digest,
        "source": manifest.source,
        "revision": manifest.revision,
        "trust": manifest.trust,
        "signer": manifest.signer,
    }
    if not manifest.is_quarantined:
        return Event.MODEL_SHELVED, facts
    return Event.MODEL_QUARANTINED, facts | {"findings": sorted({finding.code for finding in manifest.quarantine})}
