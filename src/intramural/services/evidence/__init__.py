"""Evidence packs: what the controls of this installation come to, for those who answer for a law.

A pack says what was looked at, when, and what was seen. It is evidence and no judgement: whether a law is kept is for
people to say, and each provision names what remains with them.

Read in this order: `facts`, `checks`, `controls`, `packs`, `hipaa`, `ferpa`, `gdpr`, `ai_act`, `record`, `written`,
`page`, `gathering`, `desk`.
"""

from collections.abc import Mapping

from intramural.services.evidence.ai_act import AI_ACT
from intramural.services.evidence.ferpa import FERPA
from intramural.services.evidence.gdpr import GDPR
from intramural.services.evidence.hipaa import HIPAA
from intramural.services.evidence.packs import Pack

#: By the word that asks for one.
PACKS: Mapping[str, Pack] = {each.law: each for each in (HIPAA, FERPA, GDPR, AI_ACT)}

__all__ = ["PACKS", "Pack"]
