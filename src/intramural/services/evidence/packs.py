"""What a pack is made of: provisions of a law, what each asks, and the controls whose results are evidence for it."""

from dataclasses import dataclass
from typing import Literal

#: 45 CFR 164.306(d): a required specification is implemented; an addressable one is too where that is reasonable and
#: appropriate, else it is documented why not. Standards have neither word.
Kind = Literal["required", "addressable", "standard", ""]


@dataclass(frozen=True, slots=True)
class Provision:
    """`cite`: where it stands, exactly. `asks`: what it asks, in our words. `remains`: what no control shows."""

    cite: str
    title: str
    asks: str
    controls: tuple[str, ...] = ()
    remains: str = ""
    kind: Kind = ""


@dataclass(frozen=True, slots=True)
class Pack:
    """One law. `scope`: which part of it, and for whom."""

    law: str
    title: str
    scope: str
    provisions: tuple[Provision, ...]
