"""What settings give up of what the product promises as it comes. Pure: each is recorded at every start, shown on the
page, and said by `intramural doctor`; there is no other way to have one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from intramural.core.config import Config
from intramural.sandbox import Level, Posture, missing_layers
from intramural.sandbox.seal import SealLevel


@dataclass(frozen=True, slots=True)
class Downgrade:
    """`setting` with its `value` gives up what `says` tells. `origin`: the variable or file that it stands in.
    `in_force`: something is missing because of it now, on this machine."""

    setting: str
    value: str
    says: str
    origin: str
    in_force: bool = True


_LAYERS = {
    "netns": "without a network namespace of their own: seccomp alone keeps them from every network",
    "landlock": "without Landlock: they can read whatever their user can",
}
_SEALS: Mapping[SealLevel | None, str] = {
    "no-landlock": "The service is sealed without Landlock: taken over, it could read whatever its user can.",
    "off": "The service is not sealed: taken over, it could do whatever its user can, and start programs.",
}


def downgrades(config: Config, posture: Posture, seal: SealLevel | None) -> list[Downgrade]:
    """Every one that the settings name. `seal`: the service's; None: of a command, which has none."""
    found: list[Downgrade] = []

    def add(setting: str, value: str, says: str, *, in_force: bool = True) -> None:
        found.append(Downgrade(setting, value, says, config.origins.get(setting, ""), in_force))

    required = config.sandbox.required_level
    for level in (Level.NO_NETNS, Level.NO_LANDLOCK):
        if required == level:
            [layer] = missing_layers(level)
            lacking = posture.level is level
            here = "" if lacking else " On this machine they do not."
            add("sandbox.required_level", required, f"Workers may run {_LAYERS[layer]}.{here}", in_force=lacking)
    if seal in _SEALS:
        add("sandbox.seal", str(seal), _SEALS[seal])
    if config.egress.mode == "open":
        add("egress.mode", "open", "Whatever nobody denied may leave, written down and not asked about.")
    if older := config.sandbox.older_engines:
        says = "These engines may be older than the oldest build allowed, or not say theirs: mends may be missing."
        add("sandbox.older_engines", ", ".join(older), says)
    for engine in config.engines:
        if engine.outside:
            says = f"What people ask of its models goes to {engine.address}, outside this machine and private networks."
            found.append(Downgrade(f"engines.{engine.name}.outside", "true", says, "engines.toml"))
        if engine.in_clear:
            says = f"What people ask of its models goes to {engine.address} unencrypted."
            found.append(Downgrade(f"engines.{engine.name}.cleartext", "true", says, "engines.toml"))
    if not config.consent.label_answers:
        add("consent.label_answers", "false", "Answers do not say that an AI wrote them.")
    if config.consent.ai_notice == "off":
        add("consent.ai_notice", "off", "People are not told that they talk to an AI.")
    return found
