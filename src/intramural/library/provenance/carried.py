"""The institution's catalogue on its way in bundles: taken from the desk's setting, put where the receiver's points."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from intramural.core.errors import Refused
from intramural.library.catalogue import load_catalogue
from intramural.library.provenance.bundle import Bundle

_NAME = "catalogue.json"


@dataclass(frozen=True, slots=True)
class CarriedCatalogue:
    """`own`: the institution's catalogue (None: this machine uses the built-in one); `key`: who must have signed it."""

    own: Path | None
    key: Path | None

    def members(self) -> Mapping[str, bytes]:
        """What a bundle takes along: the catalogue and its signature, if there are any."""
        if self.own is None:
            return {}
        files = {_NAME: self.own, f"{_NAME}.sig": _signature(self.own)}
        return {name: file.read_bytes() for name, file in files.items() if file.is_file()}

    def check(self, bundle: Bundle) -> None:
        """Before anything of the bundle is taken: its catalogue must be one that this machine would use.

        Raises as `load_catalogue`; Refused(`catalogue_older`).
        """
        if not self._wanted(bundle) or self.own is None:
            return
        unfinished = self._write(self.own, bundle)
        try:
            offered = load_catalogue(unfinished, self.key).catalogue
            if self.own.is_file() and offered.dated < (present := load_catalogue(self.own, self.key).catalogue).dated:
                message = f"The bundle's catalogue is of {offered.dated}; the one here is of {present.dated}."
                raise Refused("catalogue_older", message, "Ask for a bundle with the present catalogue, or with none.")
        finally:
            for each in (unfinished, _signature(unfinished)):
                each.unlink(missing_ok=True)

    def put(self, bundle: Bundle) -> None:
        """Take over the bundle's catalogue; it is in use at once."""
        if not self._wanted(bundle) or self.own is None:
            return
        unfinished = self._write(self.own, bundle)
        for new, old in ((_signature(unfinished), _signature(self.own)), (unfinished, self.own)):
            if new.is_file():
                new.replace(old)

    def _wanted(self, bundle: Bundle) -> bool:
        return bundle.signer is not None and _NAME in bundle.extras

    def _write(self, own: Path, bundle: Bundle) -> Path:
        unfinished = own.with_name(own.name + ".new")
        unfinished.write_bytes(bundle.extras[_NAME])
        if signature := bundle.extras.get(f"{_NAME}.sig"):
            _signature(unfinished).write_bytes(signature)
        return unfinished


def _signature(catalogue: Path) -> Path:
    return catalogue.with_name(catalogue.name + ".sig")
