"""Changes the installation's key of the vault, and is killed in the middle of it: as often as is wanted.

A line of JSON each time: the folder, the database, the vault's settings and what is to be in the environment. Another
process is forked for it (what this one has imported takes most of a second), which says `ready` with its number before
it begins. It is waited for when a line without anything comes.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from intramural.core.clock import SystemClock
from intramural.core.config import VaultConfig
from intramural.storage import Database
from intramural.vault import Vault


async def main(folder: Path, place: str, config: VaultConfig) -> None:
    db = await Database.open(place if place.startswith("postgresql:") else Path(place))
    vault = await Vault.open(db, folder / "secrets", config, SystemClock())
    print(f"ready {os.getpid()}", flush=True)
    await vault.change_wrapping_key()
    await db.close()


while line := sys.stdin.readline():
    asked = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.environ.update(asked["environment"])
        asyncio.run(main(Path(asked["folder"]), asked["place"], VaultConfig(**asked["settings"])))
        os._exit(0)
    sys.stdin.readline()
    os.waitpid(pid, 0)
    print("ended", flush=True)
