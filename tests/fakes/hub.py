"""A model hub on loopback, speaking as Hugging Face does (`tests/library/test_hub.py` asks its own client), and lying.

Two servers: the hub itself, and the store it redirects to. As on the real one, a large file is handed out by the
store under an address that changes, and the hub says its digest beside the redirect.
"""

import contextlib
import hashlib
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

from tests.fakes.web import Reply, Request, WebServer, file_reply, serving

_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(?:/revision/(?P<revision>.+))?")


@dataclass
class Repository:
    """Files at a commit, and what the card says. `small` names files that lie in git itself."""

    files: dict[str, bytes]
    card: dict[str, Any] = field(default_factory=lambda: {"license": "apache-2.0"})
    small: frozenset[str] = frozenset()
    private: bool = False
    gated: bool = False
    #: Branches and tags besides `main`.
    refs: frozenset[str] = frozenset()

    @property
    def commit(self) -> str:
        said = "".join(f"{path} {hashlib.sha256(body).hexdigest()}\n" for path, body in sorted(self.files.items()))
        return hashlib.sha1(said.encode()).hexdigest()


@dataclass
class Hub:
    """A running hub. Honest by default; each knob makes it lie or fail in one way."""

    repositories: dict[str, Repository]
    web: WebServer
    store: WebServer
    #: The only token that opens what is private or gated.
    token: str = "hf_right"
    #: Changes what the list says of the repository.
    list_as: Callable[[dict[str, Any]], Any] = lambda said: said
    #: What the store answers, from what it honestly would.
    hand_out: Callable[[Request, Reply], Reply] = lambda request, reply: reply
    #: Where large files are, from where they honestly are.
    redirect: Callable[[str], str] = lambda location: location
    #: Changes the headers beside the redirect.
    headers_as: Callable[[dict[str, str]], dict[str, str]] = lambda headers: headers

    @property
    def url(self) -> str:
        return self.web.url

    def paths(self) -> list[tuple[str, str]]:
        """(method, path) of all that the hub itself was asked."""
        return [(seen.method, seen.path) for seen in self.web.seen]

    def ask(self, request: Request) -> Reply:
        """The hub's own answer."""
        if match := _API.fullmatch(request.path):
            return self._listed(request, match["repo"], unquote(match["revision"] or "main"))
        if match := _RESOLVE.fullmatch(request.path):
            return self._resolved(request, match["repo"], unquote(match["revision"]), match["path"])
        return Reply(404)

    def _denied(self, request: Request, repo: Repository | None) -> Reply | None:
        known = request.headers.get("authorization") == f"Bearer {self.token}"
        if repo is None or (repo.private and not known):
            return _error(404 if known else 401, "RepoNotFound", "Repository not found")
        if repo.gated and not known:
            return _error(401, "GatedRepo", "Access to this model is restricted.")
        return None

    def _listed(self, request: Request, name: str, revision: str) -> Reply:
        repo = self.repositories.get(name)
        # A gated repository can be listed: only its files cannot be had.
        if (repo is None or repo.private) and (denied := self._denied(request, repo)):
            return denied
        assert repo is not None
        if revision not in ("main", repo.commit, *repo.refs):
            return _error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        blobs = parse_qs(request.query).get("blobs") == ["true"]
        siblings = [_sibling(repo, path, body, blobs) for path, body in repo.files.items()]
        said = {
            "_id": "64", "id": name, "modelId": name, "author": name.split("/")[0], "sha": repo.commit,
            "lastModified": "2026-01-02T03:04:05.000Z", "private": repo.private, "disabled": False,
            "gated": "manual" if repo.gated else False, "tags": ["gguf", "license:apache-2.0"], "downloads": 1,
            "likes": 0, "cardData": repo.card, "siblings": siblings, "usedStorage": 1,
        }  # fmt: skip
        return Reply(200, {"Content-Type": "application/json; charset=utf-8"}, json.dumps(self.list_as(said)).encode())

    def _resolved(self, request: Request, name: str, revision: str, path: str) -> Reply:
        repo = self.repositories.get(name)
        if denied := self._denied(request, repo):
            return denied
        assert repo is not None
        if revision not in ("main", repo.commit, *repo.refs):
            return _error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if path not in repo.files:
            return _error(404, "EntryNotFound", "Entry not found")
        body, headers = repo.files[path], {"X-Repo-Commit": repo.commit}
        if path in repo.small:
            reply = file_reply(request, body, etag=f'"{_git_sha1(body)}"')
            return Reply(reply.status, {**reply.headers, **headers}, reply.body)
        digest = hashlib.sha256(body).hexdigest()
        headers |= {"X-Linked-Size": str(len(body)), "X-Linked-Etag": f'"{digest}"', "X-Xet-Hash": "f" * 64}
        headers |= {"Location": self.redirect(f"{self.store.url}/{digest}?signature=s{len(self.web.seen)}")}
        return Reply(302, self.headers_as(headers), b"Found. Redirecting")

    def store_file(self, request: Request) -> Reply:
        """The store's answer; it knows only digests."""
        bodies = [body for repo in self.repositories.values() for body in repo.files.values()]
        found = {hashlib.sha256(body).hexdigest(): body for body in bodies}
        wanted = request.path.strip("/")
        if wanted not in found or not request.query:
            return Reply(403)
        return self.hand_out(request, file_reply(request, found[wanted], etag=f'"{wanted}"'))


@contextlib.asynccontextmanager
async def running(repositories: dict[str, Repository], *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Hub]:
    """A hub with these repositories, and its store."""
    async with serving(lambda _: Reply(503), tls=tls) as web, serving(lambda _: Reply(503), tls=tls) as store:
        hub = Hub(repositories, web, store)
        web.respond, store.respond = hub.ask, hub.store_file
        yield hub


def _sibling(repo: Repository, path: str, body: bytes, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": path}
    said = {"rfilename": path, "size": len(body), "blobId": _git_sha1(body)}
    if path in repo.small:
        return said
    digest = hashlib.sha256(body).hexdigest()
    return {**said, "lfs": {"sha256": digest, "size": len(body), "pointerSize": 134}}


def _git_sha1(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


def _error(status: int, code: str, message: str) -> Reply:
    headers = {"X-Error-Code": code, "X-Error-Message": message, "Content-Type": "application/json"}
    return Reply(status, headers, json.dumps({"error": message}).encode())
