"""LangChain's own tests of what a chat model and embeddings have to do, run on the class that is named.

Prints which failed, each with the first line of why.
"""

import json
import os
import sys
from typing import Any, ClassVar

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests

address, key, model = (os.environ[f"INTRAMURAL_{name}"] for name in ("ADDRESS", "KEY", "MODEL"))
OPENAI = {"base_url": f"{address}/v1", "api_key": key, "model": model}
OLLAMA = {
    "base_url": address,
    "model": model,
    "client_kwargs": {"headers": {"Authorization": f"Bearer {key}"}},
}


class TestOpenAI(ChatModelIntegrationTests):
    chat_model_class = ChatOpenAI
    chat_model_params: ClassVar[dict[str, Any]] = {**OPENAI, "temperature": 0, "max_tokens": 300, "stream_usage": True}
    supports_json_mode = True


class TestResponses(ChatModelIntegrationTests):
    chat_model_class = ChatOpenAI
    chat_model_params: ClassVar[dict[str, Any]] = {
        **OPENAI, "temperature": 0, "max_tokens": 300, "use_responses_api": True, "output_version": "responses/v1",
    }  # fmt: skip
    supports_json_mode = True


class TestAnthropic(ChatModelIntegrationTests):
    chat_model_class = ChatAnthropic
    chat_model_params: ClassVar[dict[str, Any]] = {
        "base_url": address,
        "api_key": key,
        "model": model,
        "temperature": 0,
        "max_tokens": 300,
    }


class TestOllama(ChatModelIntegrationTests):
    chat_model_class = ChatOllama
    chat_model_params: ClassVar[dict[str, Any]] = {**OLLAMA, "temperature": 0, "num_predict": 300}
    supports_json_mode = True
    has_tool_choice = False  # their API has none


class TestOpenAIEmbeddings(EmbeddingsIntegrationTests):
    embeddings_class = OpenAIEmbeddings
    embedding_model_params: ClassVar[dict[str, Any]] = {**OPENAI, "check_embedding_ctx_length": False}


class TestOllamaEmbeddings(EmbeddingsIntegrationTests):
    embeddings_class = OllamaEmbeddings
    embedding_model_params: ClassVar[dict[str, Any]] = OLLAMA


class Record:
    """What came of each test."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            said = str(crash.message if crash else report.longrepr)
            self.failed[report.nodeid.rpartition("::")[2]] = said.splitlines()[0][:300]
        self.passed += report.passed and report.when == "call"


if __name__ == "__main__":
    record = Record()
    loops = [f"-oasyncio_default_{kind}_loop_scope=session" for kind in ("test", "fixture")]  # clients keep their own
    quiet = ["-q", "-p", "no:cacheprovider", "--timeout=300", "-oasyncio_mode=auto"]
    ours = ["-c", os.devnull, "--rootdir", os.path.dirname(__file__), "--noconftest"]  # is not for their tests
    status = pytest.main([f"{__file__}::{sys.argv[1]}", *ours, *quiet, *loops], [record])
    print(json.dumps({"passed": record.passed, "failed": record.failed, "ran": int(status) in (0, 1)}))
