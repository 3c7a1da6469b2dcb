"""How a provider of sign-ins is asked: its own hosts and no other, bounded, by the same door as models."""

from intramural.access.oidc import Ask, Said
from intramural.access.oidc.provider import bad_answer
from intramural.core.errors import IntramuralError, Refused, Unavailable, Untrusted
from intramural.core.outward import Connect
from intramural.core.providers import OidcProvider

_TIMEOUT_S = 10.0
_MAX_BYTES = 512 << 10
#: What says in its body why not (RFC 6749 5.2).
_STATUSES = (200, 400, 401, 403)


def asking(settings: OidcProvider, connect: Connect) -> Ask:
    """Asks the issuer's host, and those in `hosts`, by the way out that is given. Redirects are not followed.

    Raises Unavailable(`provider_unreachable`), Untrusted(`provider_certificate_wrong`), Broken(`provider_bad_answer`).
    """

    async def ask(url: str, body: bytes | None, authorization: str | None) -> Said:
        # these load a client of HTTP, which takes a while: only who signs in so waits for it
        from intramural.library.sources.reach import Limits, Reach, only
        from intramural.library.sources.web import Web, host_of

        limits = Limits(connect_timeout_s=_TIMEOUT_S / 2, answer_timeout_s=_TIMEOUT_S, tries=1, redirects=0)
        reach = Reach(connect, settings.ca_file, limits=limits)
        web = Web(only(host_of(settings.issuer), *settings.hosts), reach)
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            answer = await web.ask(
                url,
                method="GET" if body is None else "POST",
                headers=headers,
                secret=authorization,
                body=body,
                max_bytes=_MAX_BYTES,
                statuses=_STATUSES,
                follow=False,
            )
        except IntramuralError as error:
            raise _worded(settings, error) from error
        return Said(answer.status, answer.body)

    return ask


def _worded(settings: OidcProvider, error: IntramuralError) -> IntramuralError:
    """What happened on the way, to who wants to sign in."""
    if error.code.startswith("egress_"):  # administrators see in the ledger which entry it is
        message = f"{settings.title} cannot be reached from here: {error.code}."
        hint = "An administrator sees why with `intramural egress ledger`."
        return Unavailable("provider_unreachable", message, hint, retry_after_s=5)
    if error.code == "bad_tls":
        message = f"{settings.title} does not prove that it is who it should be."
        hint = "An administrator has to mend its certificate, or name its authority in sign-in.toml (`ca_file`)."
        return Untrusted("provider_certificate_wrong", message, hint)
    if isinstance(error, Unavailable) or error.code == "source_failed":
        message = f"{settings.title} cannot be reached from here."
        return Unavailable("provider_unreachable", message, "Try again in a moment.", retry_after_s=5)
    if isinstance(error, Refused) and error.code == "host_refused":
        return bad_answer(settings, "names a host that sign-in.toml does not (`hosts`)")
    return bad_answer(settings, "does not answer as it should")
