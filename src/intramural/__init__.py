"""intramural: an institution's own AI service. `docs/architecture.md` is the map; each room's `__init__` is a door."""

__version__ = "0.1.0"
