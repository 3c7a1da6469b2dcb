"""The one error that every refused token becomes. `why` is one word of ours: it goes into the log, the token never."""

from intramural.core.errors import Unauthenticated


class TokenRefused(Unauthenticated):
    """A token of the provider's failed a check; `why` names the check."""

    def __init__(self, why: str, message: str) -> None:
        hint = "Begin again; if it persists, an administrator has to compare sign-in.toml with the provider's settings."
        super().__init__("id_token_refused", message, hint)
        self.why = why
