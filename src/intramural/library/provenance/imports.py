"""When the newest bundle that brought a model was made, so that an older one cannot bring back what it replaced."""

import datetime
from pathlib import Path

import msgspec

from intramural.core.durable import ORDINARY, write_whole
from intramural.core.errors import Broken, Refused
from intramural.library.provenance.bundle import Bundle


class Imports:
    """The dates in `file`. Only signed bundles count: the date of an unsigned one is anybody's claim."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def require_newer(self, bundle: Bundle) -> None:
        """Raises Refused(`bundle_older`) when a model in `bundle` came in a newer one before."""
        known = self._known()
        for model in bundle.models:
            newest_ms = known.get(model.about.name, 0)
            if bundle.index.made_ms < newest_ms:
                message = (
                    f"This bundle is of {_date(bundle.index.made_ms)}; "
                    f"{model.about.name} came in one of {_date(newest_ms)} before."
                )
                hint = "Ask for a new bundle. If the older one is wanted, import it with `--older`."
                raise Refused("bundle_older", message, hint)

    def note(self, bundle: Bundle) -> None:
        """Remember what came in `bundle`."""
        if bundle.signer is None:
            return
        known = self._known() | {model.about.name: bundle.index.made_ms for model in bundle.models}
        write_whole(self._file, msgspec.json.encode(known), mode=ORDINARY)

    def _known(self) -> dict[str, int]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, int])
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError as error:
            hint = "If you know why, remove it; then older bundles can no longer be told from newer ones."
            raise Broken("bundle_dates_damaged", f"{self._file.name} is damaged.", hint) from error


def _date(made_ms: int) -> str:
    return f"{datetime.datetime.fromtimestamp(made_ms / 1000, datetime.UTC):%Y-%m-%d %H:%M}"
