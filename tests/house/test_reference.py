"""Documentation that fails the build when it lies."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module
    spec.loader.exec_module(module)
    return module


def test_reference_pages_say_what_the_code_says() -> None:
    wanted = load_generator().rendered()
    found = {file.name: file.read_text("utf-8") for file in (ROOT / "docs/reference").glob("*.md")}
    assert found == wanted, "run `make reference`"


def test_architecture_map_names_every_room() -> None:
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    rooms = {d.name for d in (ROOT / "src/intramural").iterdir() if d.is_dir() and (d / "__init__.py").exists()}
    for room in rooms:
        assert re.search(rf"[├└]── {room}/", text), f"docs/architecture.md does not show {room}/"


def test_every_room_says_what_it_promises_and_never_does() -> None:
    for door in sorted((ROOT / "src/intramural").glob("*/__init__.py")):
        text = door.read_text("utf-8")
        assert "Promises:" in text and "Never:" in text, f"{door} does not introduce its room"


def test_every_link_in_the_docs_leads_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which does not exist"
