"""Sign-in by OpenID Connect: the code flow with PKCE, and nothing else of that large family.

Promises: who somebody is, is what the provider's signed token says, checked in every point; the identity is issuer and
subject together, never a name or an address of e-mail; one sign-in's answer fits no other and works once.
Never: opens a connection (whoever makes it hands over how to ask), knows HTTP's cookies and answers, writes anything.

Read in this order: `refusal`, `keys`, `tokens`, `claims`, `provider`, `flow`.
"""

from intramural.access.oidc.claims import Arrival
from intramural.access.oidc.flow import Flow, Going
from intramural.access.oidc.provider import Ask, Provider, Said

__all__ = ["Arrival", "Ask", "Flow", "Going", "Provider", "Said"]
