"""An adapter from a file to answers, through the real program."""

from pathlib import Path
from typing import Any

import requests
from tests.families.adapters import write_adapter
from tests.service import MODEL, Service


def test_a_model_with_an_adapter_beside_the_one_without(fresh: Service, tmp_path: Path) -> None:
    file = write_adapter(tmp_path / "law.gguf")
    file.chmod(0o644)
    fresh.settings["INTRAMURAL_SERVING_OPTIONS"] = "*: context=1024 slots=1,smollm2-law: adapter=law"
    with fresh.running():
        fresh.command("pull", f"file:{file}", "--name", "law")
        key = {"Authorization": f"Bearer {fresh.new_key(scopes=['inference', 'admin'])}"}
        copy = {"source": MODEL, "destination": "smollm2-law"}
        assert requests.post(f"{fresh.address}/api/copy", json=copy, headers=key, timeout=30).ok

        def says(model: str) -> Any:
            asked = [{"role": "user", "content": "What is the capital of France?"}]
            body = {"model": model, "messages": asked, "temperature": 0, "seed": 1, "max_tokens": 12}
            answer = requests.post(f"{fresh.address}/v1/chat/completions", json=body, headers=key, timeout=110)
            return answer.json()["choices"][0]["message"]["content"] if answer.ok else answer.json()["error"]["code"]

        before = says(MODEL)
        assert says("smollm2-law") != before
        assert says(MODEL) == before
        workers = fresh.page("GET", "/models").json()["models"]
        assert {each["name"] for each in workers if each.get("worker")} == {MODEL, "smollm2-law"}
        assert says("law") == "wrong_model_kind"
        asked = [each["facts"]["model"] for each in fresh.events() if each["event"] == "chat.asked"]
        assert [len(each.get("adapters", ())) for each in asked if each] in ([0, 1, 0], [0, 1, 0][::-1])
