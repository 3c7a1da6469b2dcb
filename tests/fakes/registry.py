"""An OCI registry on loopback (distribution-spec 1.1): honest by default, and able to lie in every answer.

`blob` and `manifest` put things in; so does a client that pushes. Speaks through `tests.fakes.web`.
"""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from tests.fakes.web import Reply, Request, file_reply

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OLLAMA = "application/vnd.ollama.image"
TITLE = "org.opencontainers.image.title"


def digest_of(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


@dataclass
class Registry:
    """`repository` with its manifests by tag and digest, and blobs by digest. Give it to `serving` as `respond`."""

    repository: str = "library/tiny"
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    #: `NAME:PASSWORD` that it wants, if any, and how: `bearer` from its own token server, or `basic`.
    login: str | None = None
    scheme: str | None = None
    #: Where the token server is; empty: at this registry, below its own address.
    realm: str = ""
    #: Tokens that are good now; the token server makes `token-1`, `token-2`, …
    tokens: list[str] = field(default_factory=list)
    #: Blobs are at this other address (a server of their own), not here.
    storage: str = ""
    #: What it says its manifests are, where that is not the truth.
    manifest_type: str | None = None
    #: Extra or changed headers of a manifest.
    manifest_headers: dict[str, str] = field(default_factory=dict)
    #: Changes any answer to a request for a blob: the lies about bytes.
    on_blob: Callable[[Request, Reply], Reply] = field(default=lambda _, reply: reply)
    #: Answers a manifest's request instead, if it returns something.
    on_manifest: Callable[[Request], Reply | None] = field(default=lambda _: None)
    #: Answers a request to begin an upload instead, if it returns something.
    on_upload: Callable[[Request], Reply | None] = field(default=lambda _: None)
    #: Its own address, known when it is served.
    url: str = ""
    issued: int = 0
    asked_scopes: list[str] = field(default_factory=list)

    def blob(self, body: bytes) -> str:
        """Put a blob in."""
        self.blobs[digest_of(body)] = body
        return digest_of(body)

    def layer(self, kind: str, body: bytes, title: str | None = None, **changed: Any) -> dict[str, Any]:
        """Put a blob in; its descriptor."""
        found = {"mediaType": kind, "digest": self.blob(body), "size": len(body)}
        if title is not None:
            found["annotations"] = {TITLE: title}
        return {**found, **changed}

    def manifest(self, tag: str, *layers: dict[str, Any], kind: str = OCI_MANIFEST, **other: Any) -> dict[str, Any]:
        """Put a manifest in under `tag`; its descriptor."""
        config = self.layer("application/vnd.oci.empty.v1+json", b"{}")
        listed = {"manifests": layers} if kind == OCI_INDEX else {"config": config, "layers": layers}
        return self.put(tag, kind, json.dumps({"schemaVersion": 2, "mediaType": kind, **listed, **other}).encode())

    def put(self, tag: str, kind: str, body: bytes) -> dict[str, Any]:
        """Put any bytes in as a manifest."""
        self.manifests[tag] = self.manifests[digest_of(body)] = kind, body
        return {"mediaType": kind, "digest": digest_of(body), "size": len(body)}

    def __call__(self, request: Request) -> Reply:
        if request.path == "/token":
            return self._token(request)
        if not self._lets_in(request):
            return self._unauthorised()
        if request.method in ("POST", "PUT"):
            return self._pushed(request)
        kind, _, which = request.path.removeprefix(f"/v2/{self.repository}/").partition("/")
        if request.path.startswith(f"/v2/{self.repository}/") and kind == "manifests":
            return self.on_manifest(request) or self._manifest(which)
        if request.path.startswith(f"/v2/{self.repository}/") and kind == "blobs":
            return self._blob(request, which)
        return error(404, "NAME_UNKNOWN")

    def _pushed(self, request: Request) -> Reply:
        base = f"/v2/{self.repository}/"
        if request.method == "POST" and request.path == f"{base}blobs/uploads/":
            return self.on_upload(request) or Reply(202, {"Location": f"{base}blobs/uploads/one?state=secret"})
        if request.path == f"{base}blobs/uploads/one":
            stated = parse_qs(request.query)["digest"][0]
            if stated != digest_of(request.body):
                return error(400, "DIGEST_INVALID")
            return Reply(201, {"Docker-Content-Digest": self.blob(request.body)})
        kind = request.headers.get("content-type", "")
        body = json.loads(request.body)
        if not all(each["digest"] in self.blobs for each in (body["config"], *body["layers"])):
            return error(400, "MANIFEST_BLOB_UNKNOWN")
        self.put(request.path.removeprefix(f"{base}manifests/"), kind, request.body)
        return Reply(201)

    def _manifest(self, which: str) -> Reply:
        if which not in self.manifests:
            return error(404, "MANIFEST_UNKNOWN")
        kind, body = self.manifests[which]
        headers = {"Content-Type": self.manifest_type or kind, "Docker-Content-Digest": digest_of(body)}
        return Reply(200, headers | self.manifest_headers, body)

    def _blob(self, request: Request, which: str) -> Reply:
        if which not in self.blobs:
            return error(404, "BLOB_UNKNOWN")
        if self.storage:
            return Reply(307, {"Location": f"{self.storage}/{which}?signature=secret"})
        reply = file_reply(request, self.blobs[which], etag=f'"{which}"')
        return self.on_blob(request, reply)

    def _lets_in(self, request: Request) -> bool:
        if self.scheme is None:
            return True
        given = request.headers.get("authorization", "")
        if self.scheme == "basic":
            return given == basic(self.login or "")
        return given.removeprefix("Bearer ") in self.tokens

    def _unauthorised(self) -> Reply:
        realm = self.realm or f"{self.url}/token"
        wanted = f'Bearer realm="{realm}",service="here",scope="repository:*:*"'
        return error(401, "UNAUTHORIZED", {"WWW-Authenticate": 'Basic realm="x"' if self.scheme == "basic" else wanted})

    def _token(self, request: Request) -> Reply:
        asked = parse_qs(request.query)
        self.asked_scopes += asked.get("scope", [])
        if self.login and request.headers.get("authorization") != basic(self.login):
            return error(401, "UNAUTHORIZED")
        self.issued += 1
        self.tokens.append(f"token-{self.issued}")
        return Reply(200, {"Content-Type": "application/json"}, json.dumps({"token": self.tokens[-1]}).encode())


def basic(login: str) -> str:
    return f"Basic {base64.b64encode(login.encode()).decode()}"


def error(status: int, code: str, headers: dict[str, str] | None = None) -> Reply:
    body = json.dumps({"errors": [{"code": code, "message": "as the specification has it"}]}).encode()
    return Reply(status, {"Content-Type": "application/json", **(headers or {})}, body)
