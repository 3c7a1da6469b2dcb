"""The part of LDAP (RFC 4511) that signing in needs, as bytes: simple bind, one search, StartTLS. Opens nothing.

Promises: a filter is never text, so nothing in a value can change what it asks; what a directory answers is bounded and
checked; an empty password is never sent (a directory takes it for nobody's, and says yes: RFC 4513 5.1.2).
Never: opens a connection, or believes one that is not encrypted (who opens it sees to that).

Read in this order: `ber`, `messages`.
"""

from intramural.access.ldap.ber import BadBer
from intramural.access.ldap.messages import Found, Result, bind, entry, result, search, start_tls, unbind

__all__ = ["BadBer", "Found", "Result", "bind", "entry", "result", "search", "start_tls", "unbind"]
