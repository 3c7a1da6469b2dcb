"""Changes the installation's key of the vault, after saying `ready`; is killed in the middle of it.

    changes_key.py FOLDER DATABASE [SETTINGS]

SETTINGS are the vault's, as JSON: then the key moves to the lock that they name.
"""

import asyncio
import json
import sys
from pathlib import Path

from intramural.core.clock import SystemClock
from intramural.core.config import VaultConfig
from intramural.storage import Database
from intramural.vault import Vault


async def main(folder: Path, place: str, config: VaultConfig) -> None:
    db = await Database.open(place if place.startswith("postgresql:") else Path(place))
    vault = await Vault.open(db, folder / "secrets", config, SystemClock())
    print("ready", flush=True)
    await vault.change_wrapping_key()
    await db.close()


given = VaultConfig(**json.loads(sys.argv[3])) if len(sys.argv) > 3 else VaultConfig()
asyncio.run(main(Path(sys.argv[1]), sys.argv[2], given))
