"""Bills of materials in CycloneDX 1.6: what a model is made of, and what the whole installation is made of.

Made by `cyclonedx-python-lib`, which knows models as components and has no class for a model card: that part is put
into its output here. The same models at the same moment give the same text. Imported lazily: 0.3 s.

Format: https://cyclonedx.org/docs/1.6/json/
"""

import datetime
import hashlib
import json
import platform
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from typing import Any
from uuid import UUID

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from intramural.library.manifest import Manifest, ModelFile

PRODUCT = "intramural"
_INDENT = 1
#: What a publisher's source says when it says nothing.
_UNSAID = ("", "unknown", "UNKNOWN")


def bill_of_models(models: Sequence[Manifest], *, version: str, now_s: float) -> str:
    """The bill of `models`, as JSON text. `version` is the product's; `now_s` the moment it is said to be of."""
    return _text([_model(each) for each in models], models, version, now_s)


def bill_of_installation(models: Sequence[Manifest], *, version: str, now_s: float) -> str:
    """The bill of everything here: the interpreter, every Python package in it, and `models`; as JSON text."""
    python = Component(
        name=platform.python_implementation(),
        version=platform.python_version(),
        type=ComponentType.PLATFORM,
        bom_ref="python",
    )
    packages = _packages(metadata.distributions())
    return _text([python, *packages, *(_model(each) for each in models)], models, version, now_s)


def _text(components: Iterable[Component], models: Sequence[Manifest], version: str, now_s: float) -> str:
    product = Component(name=PRODUCT, version=version, type=ComponentType.APPLICATION, bom_ref=PRODUCT)
    made = datetime.datetime.fromtimestamp(int(now_s), datetime.UTC)
    bill = Bom(metadata=BomMetaData(component=product, timestamp=made), components=components)
    bill.register_dependency(product, list(bill.components))
    bill.serial_number = UUID(int=0)
    written = json.loads(JsonV1Dot6(bill).output_as_string())
    cards = {_model_reference(each): _card(each) for each in models}
    for component in written.get("components", []):
        if component["bom-ref"] in cards:
            component["modelCard"] = cards[component["bom-ref"]]
    content = hashlib.sha256(json.dumps(written, sort_keys=True).encode()).digest()
    written["serialNumber"] = UUID(bytes=content[:16], version=4).urn
    return json.dumps(written, indent=_INDENT, ensure_ascii=False) + "\n"


# models ---------------------------------------------------------------------------------------------------------------


def _model_reference(model: Manifest) -> str:
    return f"model:{model.name}"


def _model(model: Manifest) -> Component:
    """The model, its files inside it: each file has a digest, and the model one where it is a single file."""
    reference = _model_reference(model)
    return Component(
        name=model.name,
        version=model.revision or model.digest,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=reference,
        hashes=[] if model.more else [_sha256(model.weights.digest)],
        licenses=_licences(model.licence),
        properties=_properties(
            digest=model.digest,
            size_bytes=model.size_bytes,
            source=model.source,
            trust=model.trust,
            signer=model.signer,
            architecture=model.architecture,
            parameters=model.parameters,
            quantisation=model.quantisation,
            trained_context_tokens=model.trained_context_tokens,
            chat_template_digest=model.template_digest,
        ),
        components=[_file(f"{reference}#{number}", each) for number, each in enumerate(model.files)],
    )


def _file(reference: str, file: ModelFile) -> Component:
    return Component(
        name=file.name,
        type=ComponentType.FILE,
        bom_ref=reference,
        hashes=[_sha256(file.blob.digest)],
        properties=_properties(role=file.role, size_bytes=file.blob.size_bytes),
    )


def _card(model: Manifest) -> dict[str, Any]:
    embeds = model.pooling is not None
    return {
        "modelParameters": {
            "task": "feature-extraction" if embeds else "text-generation",
            "architectureFamily": model.architecture,
            "modelArchitecture": f"{model.architecture}, {model.parameters} parameters, {model.quantisation}",
            "inputs": [{"format": "text"}],
            "outputs": [{"format": "vector" if embeds else "text"}],
        }
    }


# packages -------------------------------------------------------------------------------------------------------------


def _packages(found: Iterable[metadata.Distribution]) -> Iterator[Component]:
    """One component a distribution, the first of a name as Python itself would take it."""
    seen: set[str] = set()
    for each in found:
        name = (each.metadata["Name"] or "").lower().replace("_", "-")
        if not name or name in seen or name == PRODUCT:
            continue
        seen.add(name)
        record = each.read_text("RECORD")
        digest = record and hashlib.sha256(record.encode()).hexdigest()
        yield Component(
            name=name,
            version=each.version,
            type=ComponentType.LIBRARY,
            bom_ref=f"python:{name}",
            purl=PackageURL("pypi", name=name, version=each.version),
            licenses=_licences(_package_licence(each)),
            properties=_properties(record_sha256=digest),
        )


def _package_licence(package: metadata.Distribution) -> str:
    """What its metadata says on one line: the expression, else the field, else the classifiers."""
    about = package.metadata
    for said in [*(about.get_all("License-Expression") or []), *(about.get_all("License") or [])]:
        if said and "\n" not in said:
            return str(said)
    marks = [each for each in about.get_all("Classifier") or [] if each.startswith("License ::")]
    return ", ".join(each.rpartition(" :: ")[2] for each in marks)


# fields ---------------------------------------------------------------------------------------------------------------


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest.removeprefix("sha256:"))


def _licences(said: str) -> list[License]:
    """An SPDX identifier or expression where it is one, else the words as they are."""
    if said in _UNSAID:
        return []
    found = LicenseFactory().make_from_string(said)
    return [DisjunctiveLicense(name=said)] if isinstance(found, DisjunctiveLicense) and not found.id else [found]


def _properties(**given: object) -> list[Property]:
    return [Property(name=f"{PRODUCT}:{name}", value=str(value)) for name, value in given.items() if value is not None]
