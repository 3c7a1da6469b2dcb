"""What a hub says of a repository, asked through `huggingface_hub` over a connection that is ours.

The package knows the protocol: addresses, headers, what errors mean, how the answer is shaped. It opens no connection:
whatever it wants to ask is asked by our fetcher (`_Handed` below), so that hosts, sizes, times and certificates are
bounded as everywhere. It reads no token and no setting from its environment either, for both are always given.
Import this module lazily: the package is slow to load.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

import httpx2
from huggingface_hub import HfApi, set_client_factory
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import ModelInfo, RepoSibling

from intramural.core.errors import Broken, IntramuralError, Misasked, Missing, Refused, Untrusted
from intramural.library.sources.licences import UNKNOWN, licence_expression
from intramural.library.sources.web import Answer, Web
from intramural.library.threads import in_thread

T = TypeVar("T")

#: The list of a repository with some ten thousand files.
MAX_LISTING_BYTES = 16 << 20
#: One question is one or two requests; more is a package that goes round in circles.
_MAX_REQUESTS = 4
#: What the package makes of a status by itself; all other failures are `Web`'s to tell.
_STATUSES = (200, 400, 401, 403, 404)
_KEPT = ("content-type", "x-error-code", "x-error-message")
_COMMIT = re.compile("[0-9a-f]{40}")
_SHA256 = re.compile("[0-9a-f]{64}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
#: As hubs write licences (lower case), where SPDX writes them otherwise than in capitals.
_LICENCES = {
    "apache-2.0": "Apache-2.0",
    "artistic-2.0": "Artistic-2.0",
    "bigscience-bloom-rail-1.0": "LicenseRef-BigScience-BLOOM-RAIL-1.0",
    "bigscience-openrail-m": "LicenseRef-BigScience-OpenRAIL-M",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "cdla-permissive-2.0": "CDLA-Permissive-2.0",
    "etalab-2.0": "etalab-2.0",
    "gemma": "LicenseRef-Gemma",
    "llama2": "LicenseRef-Llama-2-Community",
    "llama3": "LicenseRef-Meta-Llama-3-Community",
    "llama3.1": "LicenseRef-Llama-3.1-Community",
    "llama3.2": "LicenseRef-Llama-3.2-Community",
    "llama3.3": "LicenseRef-Llama-3.3-Community",
    "llama4": "LicenseRef-Llama-4-Community",
    "openrail": "LicenseRef-OpenRAIL",
    "unlicense": "Unlicense",
    "zlib": "Zlib",
}

logging.getLogger("huggingface_hub").setLevel(
    logging.ERROR
)  # what a hub says would be written to our standard error otherwise


@dataclass(frozen=True, slots=True)
class Listed:
    """A file at a commit. `digest` is `sha256:<64 hex>`; None for one that lies in git itself, by `git_sha1`."""

    path: str
    size_bytes: int
    digest: str | None
    git_sha1: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository at a commit (40 hex digits), under the name the hub has for it."""

    repository: str
    commit: str
    licence: str
    files: Mapping[str, Listed]


async def list_repository(web: Web, endpoint: str, repository: str, revision: str | None, token: str | None) -> Listing:
    """What `repository` has at `revision` (None: its main branch), all of it at one commit.

    Raises Missing(`source_not_found`), Refused(`source_denied`), Misasked(`bad_source`), Untrusted(`source_changed`,
    `bad_digest`), Broken(`source_bad_answer`) and what `Web` raises.
    """
    api = HfApi(endpoint=endpoint, token=token or False)

    def ask() -> Listing:
        info = api.model_info(repository, revision=revision or "main", files_metadata=True)
        return _checked(info, revision)

    with _told(repository, revision):
        return await _asked(web, endpoint, ask)


class _WantedError(Exception):
    """The package wants this asked."""

    def __init__(self, url: str, secret: str | None) -> None:
        super().__init__(url)
        self.url, self.secret = url, secret


#: Answers that are there already, by address; None: nobody may ask anything now.
_answers: ContextVar[dict[str, Answer] | None] = ContextVar("answers", default=None)


class _Handed(httpx2.BaseTransport):
    """The package's only way out: hands it answers that are there already, and notes which it lacks."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answers, url = _answers.get(), str(request.url)
        if answers is None or request.method != "GET":
            raise Refused("hub_not_asked", "The hub's package asked for something that nobody wanted.")
        if url not in answers:
            raise _WantedError(url, request.headers.get("authorization"))
        answer = answers[url]
        headers = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
        return httpx2.Response(answer.status, headers=headers, content=answer.body, request=request)


set_client_factory(lambda: httpx2.Client(transport=_Handed(), trust_env=False))


async def _asked(web: Web, endpoint: str, call: Callable[[], T]) -> T:
    """What `call` returns, once everything it wants to ask the hub has been asked by `web`."""
    answers: dict[str, Answer] = {}
    base = str(httpx2.URL(f"{endpoint}/api/"))
    while len(answers) < _MAX_REQUESTS:
        try:
            return await in_thread(_with, answers, call)
        except _WantedError as wanted:
            if not wanted.url.startswith(base):
                raise Refused("hub_not_asked", "The hub's package asked for something that nobody wanted.") from wanted
            answers[wanted.url] = await web.ask(
                wanted.url, secret=wanted.secret, statuses=_STATUSES, max_bytes=MAX_LISTING_BYTES
            )
    raise Broken("source_bad_answer", "The hub's answers lead nowhere.", "Try again later.")


def _with(answers: dict[str, Answer], call: Callable[[], T]) -> T:
    before = _answers.set(answers)
    try:
        return call()
    finally:
        _answers.reset(before)


@contextmanager
def _told(repository: str, revision: str | None) -> Iterator[None]:
    """The package's errors as ours, and what it raises over an answer that makes no sense."""
    what = repository if revision is None else f"{repository}@{revision}"
    try:
        yield
    except IntramuralError:
        raise
    except (GatedRepoError, DisabledRepoError) as error:
        hint = "Accept its terms on the publisher's page and give the token of whoever did (library.hub_token_file)."
        raise Refused("source_denied", f"The hub does not let us have {what}.", hint) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        hint = "Check the name. If it is private, a token is needed (library.hub_token_file)."
        raise Missing("source_not_found", f"The hub has no {what}, or not for us.", hint, param="source") from error
    except HFValidationError as error:
        raise Misasked("bad_source", f"{what} is not the name of a repository.", str(error), param="source") from error
    except HfHubHTTPError as error:
        denied = error.response.status_code in (401, 403)
        if denied:
            raise Refused("source_denied", f"The hub does not let us have {what}.", "Check the token.") from error
        raise _senseless(f"status {error.response.status_code}") from error
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise _senseless(type(error).__name__) from error


def _checked(info: ModelInfo, revision: str | None) -> Listing:
    """The answer, every part of it of the right shape."""
    if not isinstance(info.sha, str) or not _COMMIT.fullmatch(info.sha):
        raise _senseless("no commit")
    if revision is not None and _COMMIT.fullmatch(revision) and info.sha != revision:
        message = f"The hub was asked for commit {revision} and answered with {info.sha}."
        raise Untrusted("source_changed", message, "Tell whoever runs the hub.")
    if not isinstance(info.id, str) or not _REPOSITORY.fullmatch(info.id):
        raise _senseless("no name")
    files: dict[str, Listed] = {}
    for sibling in info.siblings or ():
        file = _file(sibling)
        if file is not None and files.setdefault(file.path, file) != file:
            raise _senseless("a file that is listed twice")
    return Listing(info.id, info.sha, _licence(info), files)


def _file(sibling: RepoSibling) -> Listed | None:
    """None for a file without a size (an empty one, say)."""
    path, lfs = sibling.rfilename, sibling.lfs
    size = sibling.size if lfs is None else lfs.size
    if not isinstance(path, str) or not isinstance(size, int | None) or isinstance(size, bool):
        raise _senseless("a file without name or size")
    if not size or size < 0:
        return None
    if lfs is None:
        return Listed(path, size, None, sibling.blob_id if isinstance(sibling.blob_id, str) else None)
    if not isinstance(lfs.sha256, str) or not _SHA256.fullmatch(lfs.sha256):
        raise Untrusted("bad_digest", f"The hub's digest of {path[:80]!r} is none.", "Tell whoever runs the hub.")
    if sibling.size not in (None, size):
        raise _senseless("a file with two sizes")
    return Listed(path, size, f"sha256:{lfs.sha256}", None)


def _licence(info: ModelInfo) -> str:
    """SPDX where the hub's name for it has one; a name that the publisher gave it; else unknown."""
    card = info.card_data if isinstance(info.card_data, Mapping) or hasattr(info.card_data, "get") else None
    said = card.get("license") if card is not None else None
    if said == "other" and card is not None:
        named = card.get("license_name")
        said = f"LicenseRef-{named}" if isinstance(named, str) else said
    if not isinstance(said, str):
        tags = info.tags if isinstance(info.tags, list) else []
        said = next((tag[8:] for tag in tags if isinstance(tag, str) and tag.startswith("license:")), None)
    if not isinstance(said, str) or said in ("", UNKNOWN, "other"):
        return UNKNOWN
    spdx = _LICENCES.get(said) or (said if said.startswith("LicenseRef-") else said.upper())
    return licence_expression(spdx) or UNKNOWN


def _senseless(what: str) -> Broken:
    return Broken("source_bad_answer", f"The hub's answer makes no sense: {what}.", "Check `library.hub`.")
