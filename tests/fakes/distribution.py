"""The registry that everybody runs (CNCF Distribution), where `scripts/test-system` could fetch it, with a login."""

import asyncio
import base64
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

UNPACKED = Path(__file__).parents[2] / ".tools/registry/usr/bin/docker-registry"
BINARY = shutil.which("docker-registry") or (str(UNPACKED) if UNPACKED.exists() else None)
#: bcrypt of `me:password`, with the fewest rounds there are.
LOGIN = "me:$2b$04$pDtAjJEtLWiShbbpzjXVweQox3tLBS0b3vsJhIrNuyLc4eEr3/sW6\n"
CONFIG = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "127.0.0.1:0"}}
auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}
"""


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[str]:
    """`127.0.0.1:PORT` of a running registry that keeps everything in `folder`."""
    (folder / "htpasswd").write_text(LOGIN)
    (folder / "config.yml").write_text(CONFIG.format(folder=folder))
    process = await asyncio.create_subprocess_exec(
        str(BINARY), "serve", str(folder / "config.yml"), stdout=-3, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    drained: asyncio.Task[bytes] | None = None
    try:
        while line := await process.stderr.readline():
            if found := re.search(rb"listening on (127\.0\.0\.1:[0-9]+)", line):
                drained = asyncio.create_task(process.stderr.read())
                yield found[1].decode()
                break
    finally:
        process.kill()
        await process.wait()
        if drained:
            await drained


def credentials(folder: Path, host: str) -> Path:
    """A file with the login for the registry at `host`."""
    file = folder / "registries.json"
    file.write_text(json.dumps({"auths": {host: {"auth": base64.b64encode(b"me:password").decode()}}}))
    file.chmod(0o600)
    return file
