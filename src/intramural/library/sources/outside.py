"""What an administrator decided about other machines: whether any may be asked for models, which, and how."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from intramural.core.config import LibraryConfig
from intramural.core.errors import Refused
from intramural.core.outward import Connect
from intramural.library.sources.hub import HUGGING_FACE
from intramural.library.sources.reach import Reach
from intramural.library.sources.registry import Registries


@dataclass(frozen=True, slots=True)
class Outside:
    """For every source on a network. `hub_token_file` holds a token that goes to `hub` alone; `redirect_hosts` is where
    hub and mirrors may send us on to (`*.example.org` stands for every host below)."""

    allowed: bool = True
    hub: str = HUGGING_FACE
    hub_token_file: Path | None = None
    redirect_hosts: tuple[str, ...] = ()
    registries: Registries = field(default_factory=Registries)
    reach: Reach = field(default_factory=Reach)

    @classmethod
    def of(cls, config: LibraryConfig, data_dir: Path) -> "Outside":
        """As the settings say; `data_dir` holds the registries' credentials where they do not."""
        reach = Reach(ca_file=Path(config.ca_file) if config.ca_file else None)
        credentials = Path(config.registry_credentials or data_dir / "registries.json")
        return cls(
            allowed=config.allow_network,
            hub=config.hub,
            hub_token_file=Path(config.hub_token_file) if config.hub_token_file else None,
            redirect_hosts=config.redirect_hosts,
            registries=Registries(credentials, config.registry_hosts, reach),
            reach=reach,
        )

    def through(self, connect: Connect) -> "Outside":
        """The same by this way out."""
        reach = replace(self.reach, connect=connect)
        return replace(self, reach=reach, registries=replace(self.registries, reach=reach))

    def require(self) -> None:
        """Raises Refused(`network_off`)."""
        if not self.allowed:
            hint = "Bring models as files or bundles, or set library.allow_network."
            raise Refused("network_off", "This service is set to ask no other machine for models.", hint)
