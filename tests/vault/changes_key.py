"""Changes the installation's key of the vault in a folder, after saying `ready`; is killed in the middle of it.

A second argument has settings of the vault as JSON: then the key moves to the lock that they name.
"""

import asyncio
import json
import sys
from pathlib import Path

from intramural.core.clock import SystemClock
from intramural.core.config import VaultConfig
from intramural.storage import Database
from intramural.vault import Vault


async def main(folder: Path, config: VaultConfig) -> None:
    db = await Database.open(folder / "intramural.db")
    vault = await Vault.open(db, folder / "secrets", config, SystemClock())
    print("ready", flush=True)
    await vault.change_wrapping_key()
    await db.close()


given = VaultConfig(**json.loads(sys.argv[2])) if len(sys.argv) > 2 else VaultConfig()
asyncio.run(main(Path(sys.argv[1]), given))
