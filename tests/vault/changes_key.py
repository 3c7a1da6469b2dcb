"""Changes the installation's key of the vault in a folder, after saying `ready`; is killed in the middle of it."""

import asyncio
import sys
from pathlib import Path

from intramural.core.clock import SystemClock
from intramural.core.config import VaultConfig
from intramural.storage import Database
from intramural.vault import Vault


async def main(folder: Path) -> None:
    db = await Database.open(folder / "intramural.db")
    vault = await Vault.open(db, folder / "secrets", VaultConfig(), SystemClock())
    print("ready", flush=True)
    await vault.change_wrapping_key()
    await db.close()


asyncio.run(main(Path(sys.argv[1])))
