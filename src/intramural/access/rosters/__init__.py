"""Lists of people from elsewhere: read, held to rules, and compared with who is here. Pure: bytes in, a plan out.

Read in this order: `roster`, `table`, `born`, `plain`, `oneroster`, `bundle`, `plan`.
"""

from intramural.access.rosters.bundle import read
from intramural.access.rosters.plan import Choices, Plan, Standing, Step, planned
from intramural.access.rosters.roster import Reading, Roster

__all__ = ["Choices", "Plan", "Reading", "Roster", "Standing", "Step", "planned", "read"]
