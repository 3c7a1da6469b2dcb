"""Bills of materials: complete, the same every time, and valid by CycloneDX's own schema."""

import json
from importlib import metadata
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from msgspec import structs
from tests.fakes.gguf_file import tiny_model
from tests.fakes.pki import NOW_S
from tests.fakes.source import LyingSource, blob_of
from tests.library.shop import Shop

from intramural.library import Manifest, ModelFile
from intramural.library.provenance.bom import bill_of_installation, bill_of_models


def parsed(text: str) -> dict[str, Any]:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    return dict(json.loads(text))


@pytest.fixture
async def model(shop: Shop) -> Manifest:
    manifest, _ = await shop.pull(LyingSource(tiny_model(seed=1)))
    return manifest


def test_a_model(model: Manifest) -> None:
    bill = parsed(bill_of_models([model], version="1.2.3", now_s=NOW_S))
    (found,) = bill["components"]
    assert found["type"] == "machine-learning-model"
    assert found["hashes"] == [{"alg": "SHA-256", "content": model.weights.digest[7:]}]
    assert found["licenses"] == [{"license": {"id": "MIT"}}]
    said = {each["name"]: each["value"] for each in found["properties"]}
    assert said["intramural:trust"] == "local"
    assert said["intramural:chat_template_digest"] == model.template_digest
    assert said["intramural:quantisation"] == model.quantisation
    assert found["modelCard"]["modelParameters"]["architectureFamily"] == model.architecture
    assert bill["metadata"]["component"]["version"] == "1.2.3"
    assert bill["metadata"]["timestamp"].startswith("2030-01-01")


def test_every_file_of_a_set_has_its_hash(model: Manifest) -> None:
    more = (ModelFile("b.gguf", "weights", blob_of(b"b")), ModelFile("eyes.gguf", "projector", blob_of(b"eyes")))
    bill = parsed(bill_of_models([structs.replace(model, more=more)], version="1", now_s=NOW_S))
    (found,) = bill["components"]
    assert "hashes" not in found
    hashes = {each["name"]: each["hashes"][0]["content"] for each in found["components"]}
    assert hashes == {"tiny.gguf": model.weights.digest[7:]} | {each.name: each.blob.digest[7:] for each in more}


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("Apache-2.0", [{"license": {"id": "Apache-2.0"}}]),
        ("MIT OR Apache-2.0", [{"expression": "MIT OR Apache-2.0"}]),
        ("Llama 3.1 Community License <&>", [{"license": {"name": "Llama 3.1 Community License <&>"}}]),
        ("unknown", None),
    ],
)
def test_licences(model: Manifest, said: str, written: object) -> None:
    bill = parsed(bill_of_models([structs.replace(model, licence=said)], version="1", now_s=NOW_S))
    assert bill["components"][0].get("licenses") == written


def test_the_same_models_give_the_same_text(model: Manifest) -> None:
    other = structs.replace(model, name="other")
    one = bill_of_models([model, other], version="1", now_s=NOW_S)
    assert bill_of_models([other, model], version="1", now_s=NOW_S) == one
    assert parsed(bill_of_models([], version="1", now_s=NOW_S))["serialNumber"] != json.loads(one)["serialNumber"]


def test_the_whole_installation(model: Manifest) -> None:
    bill = parsed(bill_of_installation([model], version="1", now_s=NOW_S))
    found = {each["bom-ref"]: each for each in bill["components"]}
    for each in metadata.distributions():
        name = each.metadata["Name"].lower().replace("_", "-")
        if name != "intramural":
            assert found[f"python:{name}"]["version"] == each.version
    assert found["python:msgspec"]["purl"].startswith("pkg:pypi/msgspec@")
    assert any(each["name"] == "intramural:record_sha256" for each in found["python:msgspec"]["properties"])
    assert found[f"model:{model.name}"]["hashes"] and found["python"]["type"] == "platform"
