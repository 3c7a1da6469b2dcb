"""Whether what was read earlier is still the committed state, answered without asking the database.

Every changing method names the connection it changes on, before it changes. While that connection is open nobody knows
whether its transaction will hold, so nothing is remembered and everything is read; once it is closed, the state has a
new number, and what was remembered under an old one is read again. Nobody has to remember to call anything after a
commit, and so nobody can forget to.
"""

from intramural.storage import Connection


class Changes:
    """Numbers the committed states of people, keys and sessions, as far as this process changes them."""

    def __init__(self) -> None:
        self._open: list[Connection] = []
        self._state = 0

    def made_on(self, connection: Connection) -> None:
        """A change follows on `connection`, whose block commits it or undoes it, and then closes it."""
        if connection not in self._open:
            self._open.append(connection)

    def state(self) -> int | None:
        """The number of the committed state; None while a change is under way."""
        if self._open:
            self._open = [connection for connection in self._open if not connection.closed]
            if self._open:
                return None
            self._state += 1
        return self._state
