"""Speaking with one registry: its challenge, the token for it, and every request with that. Opens nothing by itself.

The protocol is the OCI distribution-spec 1.1's; tokens are asked for as Docker's registries do.
"""

import glob
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from intramural.core.errors import Refused
from intramural.library.sources.challenge import best, parse_challenges, token_of
from intramural.library.sources.credentials import Login, login_for
from intramural.library.sources.reach import Reach, only
from intramural.library.sources.reference import Reference
from intramural.library.threads import in_thread

if TYPE_CHECKING:
    from intramural.library.sources.web import Answer, Web

#: Where well-known registries have their tokens and their bytes (by the names their operators publish). Whoever else
#: redirects elsewhere needs the setting `library.registry_hosts`.
ALSO: Final = {
    "registry.ollama.ai": ("ollama.com", "dd20bb891979d25aebc8bec07b2b3bbc.r2.cloudflarestorage.com"),
    "docker.io": (
        "registry-1.docker.io",
        "auth.docker.io",
        "production.cloudflare.docker.com",
        "production.cloudfront.docker.com",
        "docker-images-prod.*.r2.cloudflarestorage.com",
    ),
    "ghcr.io": ("pkg-containers.githubusercontent.com",),
    "quay.io": ("*.quay.io",),
    "hf.co": ("huggingface.co", "*.huggingface.co", "*.hf.co"),
}
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_MAX_TOKEN_ANSWER_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Registries:
    """What an administrator decided about registries.

    `credentials` is a file as `login_for` reads it; `hosts` may be contacted besides the registry that was asked for
    (its token server, where it redirects to); `*.example.org` stands for every host below.
    """

    credentials: Path | None = None
    hosts: tuple[str, ...] = ()
    reach: Reach = field(default_factory=Reach)


class RegistrySession:
    """With the registry of `reference`, about its repository. `actions` is what a token is asked for.

    Everything raises Refused(`registry_login_needed`, `registry_login_refused`, `registry_login_unknown`,
    `registry_bad_challenge`), Broken(`registry_bad_challenge`, `registry_bad_token`), and what `web.Web` and
    `login_for` raise.
    """

    def __init__(
        self, reference: Reference, registries: Registries, actions: Literal["pull", "pull,push"] = "pull"
    ) -> None:
        self._reference, self._registries, self._actions = reference, registries, actions
        self._verb = "read" if actions == "pull" else "write to"
        self._secret: str | None = None
        self._made: Web | None = None

    async def ask(
        self,
        url: str,
        accept: str = "*/*",
        max_bytes: int | None = None,
        *,
        method: str = "GET",
        body: bytes | None = None,
        kind: str | None = None,
        statuses: Collection[int] = (200,),
    ) -> "Answer":
        """One small answer, whose status is one of `statuses`; `body` is of the media type `kind`."""
        headers = {"Accept": accept} | ({} if kind is None else {"Content-Type": kind})

        async def once() -> "Answer":
            return await self._web().ask(
                url,
                method=method,
                headers=headers,
                secret=self._secret,
                body=body,
                max_bytes=max_bytes,
                statuses=(*statuses, 401),
            )

        answer = await once()
        if answer.status == 401:
            login = await self._log_in(answer.headers.get("www-authenticate", ""))
            answer = await once()
            if answer.status == 401:
                raise self._denied(login)
        return answer

    def stream(self, url: str, *, size_bytes: int, offset: int) -> AsyncGenerator[bytes, None]:
        """As `web.Web.stream`, with the login there is."""
        return self._web().stream(url, size_bytes=size_bytes, offset=offset, secret=self._secret)

    async def send(self, url: str, body: AsyncIterator[bytes], *, size_bytes: int) -> None:
        """As `web.Web.send`; the login goes to the registry itself and nowhere else."""
        home = self._reference.url("blobs", "")
        await self._web().send(url, body, size_bytes=size_bytes, secret=self._secret, home=home)

    async def renew(self, url: str) -> None:
        """Log in anew for the blob at `url`, if the registry asks for it there."""
        answer = await self._web().ask(url, method="HEAD", follow=False, statuses=(200, 401, *_REDIRECTS))
        if answer.status == 401:
            await self._log_in(answer.headers.get("www-authenticate", ""))

    async def _log_in(self, header: str) -> Login | None:
        """Answer the registry's challenge; from then on `_secret` goes along with every request to it."""
        reference = self._reference
        challenge = best(parse_challenges(header))
        if challenge is None:
            message = f"{reference.host} asks for a login in a way that is not known here."
            raise Refused("registry_login_unknown", message, "Known are tokens (Bearer) and passwords (Basic).")
        login = await in_thread(login_for, reference.host, self._registries.credentials)
        if login is not None and login.token is not None:
            self._secret = f"Bearer {login.token}"
        elif challenge.scheme == "bearer":
            url = challenge.token_url(reference.repository, reference.scheme, self._actions)
            self._secret = await self._token(url, login)
        elif login is None:
            raise self._denied(None)
        else:
            self._secret = login.basic
        return login

    async def _token(self, url: str, login: Login | None) -> str:
        answer = await self._web().ask(
            url,
            headers={"Accept": "application/json"},
            secret=login.basic if login else None,
            max_bytes=_MAX_TOKEN_ANSWER_BYTES,
            statuses=(200, 401, 403),
        )
        if answer.status != 200:
            raise self._denied(login)
        return f"Bearer {token_of(answer.json())}"

    def _denied(self, login: Login | None) -> Refused:
        host, repository = self._reference.host, self._reference.repository
        if login is not None:
            message = f"{host} does not let this login {self._verb} {repository}."
            return Refused("registry_login_refused", message, "Check the name, the password and its rights there.")
        hint = f"If it exists at all: put a login for {host} into the file that library.registry_credentials names."
        return Refused("registry_login_needed", f"{host} lets nobody {self._verb} {repository} without a login.", hint)

    def _web(self) -> "Web":
        if self._made is None:
            from intramural.library.sources.web import Web, host_of  # slow to load, and not always needed

            asked = host_of(self._reference.url("manifests", "latest"))
            also = ALSO.get(self._reference.host, ())
            self._made = Web(only(glob.escape(asked), *also, *self._registries.hosts), self._registries.reach)
        return self._made
