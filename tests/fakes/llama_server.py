"""A real llama-server on loopback: the embedded engine with the starter weights, as a program of its own on TCP."""

import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from tests.fakes.spawner import ROOT

from intramural.core.engines import Address, EngineKind, Remote, RemoteEngine, RemoteModel

KEY = "a-key-for-tests"
_SERVE = """
import json, signal, sys, xllamacpp
from intramural.serving.engine import parameters
arg = json.loads(sys.argv[1])
params = parameters(arg)
params.hostnames, params.port = ["127.0.0.1"], arg["port"]
params.api_keys, params.model_alias = [arg["key"]], {"starter"}
server = xllamacpp.Server(params)
signal.pause()
"""


@dataclass
class LlamaServer:
    """One that runs."""

    port: int
    log: Path
    process: asyncio.subprocess.Process

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str) -> Any:
        """What it answers its own administrator."""
        answer = requests.get(self.url + path, headers={"Authorization": f"Bearer {KEY}"}, timeout=30)
        assert answer.status_code == 200
        return answer.json()


@contextlib.asynccontextmanager
async def llama_server(weights: Path, *, slots: int = 2, context_tokens: int = 512) -> AsyncIterator[LlamaServer]:
    """Started with one thread and answering; ended at the end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arg = {
        "socket": "127.0.0.1", "port": port, "key": KEY, "weights": str(weights), "context_tokens": context_tokens,
        "slots": slots, "threads": 1, "template": None, "pooling": "last",
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="im-") as home:
        log = Path(home) / "log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _SERVE, json.dumps(arg),
                stdout=output, stderr=output,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
            )  # fmt: skip
        server = LlamaServer(port, log, process)
        try:
            async with asyncio.timeout(120):
                while not await asyncio.to_thread(_answers, server):
                    assert process.returncode is None, log.read_text(errors="replace")
                    await asyncio.sleep(0.05)
            yield server
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def _answers(server: LlamaServer) -> bool:
    try:
        return requests.get(f"{server.url}/health", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def remote(
    url: str, kind: EngineKind = "llama-server", *, key: str | None = KEY, ca_file: Path | None = None, **about: Any
) -> Remote:
    """A model of an engine at `url`; `about` are fields of `RemoteModel`."""
    scheme, _, rest = url.partition("://")
    host, _, port = rest.partition(":")
    address = Address("https" if scheme == "https" else "http", host, int(port), "")
    about = {"theirs": "starter", "context_tokens": 512, "slots": 2, **about}
    model = RemoteModel(about.pop("name", "m"), **about)
    return Remote(RemoteEngine("lab", kind, address, (model,), ca_file=ca_file, key=key), model)
