"""What libraries are told before any of them is imported: report to nobody, look for nothing newer, fetch nothing.

Most of these libraries are not here. They stand in the table because a library comes along with another one at some
update, and many read their switch once, when they are imported: then it is too late to find out. Sources: the
documentation of each, and the code of `huggingface_hub` (`constants.py`).
"""

import os
from collections.abc import Mapping
from types import MappingProxyType

#: Of every process: of the service and of a command from its entry on (`__main__`), of a child from its first
#: instruction (`sandbox.launch`). What somebody set otherwise outside is overruled.
SWITCHES: Mapping[str, str] = MappingProxyType(
    {
        "ANONYMIZED_TELEMETRY": "False",  # chromadb, browser-use
        "CREWAI_DISABLE_TELEMETRY": "true",
        "DEEPEVAL_TELEMETRY_OPT_OUT": "YES",
        "DISABLE_TELEMETRY": "1",  # huggingface_hub and others
        "DO_NOT_TRACK": "1",  # whoever honours the convention
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HAYSTACK_TELEMETRY_ENABLED": "False",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",  # no token that lies in somebody's home is sent along
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_XET": "1",  # a client in Rust, past every hook of Python's
        "HF_HUB_OFFLINE": "1",  # its own connections; we ask a hub over ours (`library.sources.hub_api`)
        "LANGCHAIN_TRACING_V2": "false",
        "LANGSMITH_TRACING": "false",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else a list of prices is fetched when it is imported
        "MEM0_TELEMETRY": "False",
        "NO_ANALYTICS": "1",
        "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime; no version that reports is accepted, this is in case
        "OTEL_SDK_DISABLED": "true",  # our own traces need no SDK (`metering.traces`)
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INDEX": "1",  # spaCy fetches a model that it lacks through pip
        "SCARF_NO_ANALYTICS": "true",
        "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "WANDB_MODE": "disabled",
    }
)


def switch_off() -> None:
    """Tell this process's libraries. To be called before anything but `core` is imported."""
    os.environ.update(SWITCHES)


def unset() -> tuple[str, ...]:
    """The switches that this process's environment does not have as they should be."""
    return tuple(name for name, value in SWITCHES.items() if os.environ.get(name) != value)
