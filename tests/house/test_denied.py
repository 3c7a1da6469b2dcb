"""A worker that tries what none ever tries shows wherever somebody looks: page, metrics, log, attestation."""

from pathlib import Path
from typing import Any

from tests.house.matrix import world

from intramural.sandbox import Launch, spawn

_ENTRY = "tests.sandbox.told_entries:tries_and_says"


async def test_it_shows_wherever_somebody_looks(tmp_path: Path) -> None:
    async with world(tmp_path / "data") as there:
        client = there.who["administrator"].client

        async def looked() -> tuple[dict[str, Any], set[str], list[str]]:
            machine = (await client.get("/intramural/v1/machine")).json()["denied"]
            metrics = (await client.get("/metrics")).text.splitlines()
            events = (await client.get("/intramural/v1/audit", params={"event": "sandbox.denied"})).json()["entries"]
            return (
                machine,
                {each for each in metrics if each.startswith("intramural_sandbox")},
                [e["target"] for e in events],
            )

        machine, metrics, targets = await looked()
        assert (machine["red"], machine["refused"], metrics, targets) == (
            False,
            [],
            {"intramural_sandbox_denied 0.0"},
            [],
        )
        child = await spawn(Launch("engine", _ENTRY, {"names": ["socket", "execve"]}, about="model:hostile"))
        await child.wait()
        await there.house.services.denials.settled()
        machine, metrics, targets = await looked()
        (process,) = machine["refused"]
        assert (machine["red"], process["about"], process["pid"]) == (True, "model:hostile", child.pid)
        assert process["calls"] == {"socket": 1, "execve": 1}
        assert metrics == {
            "intramural_sandbox_denied 1.0",
            'intramural_sandbox_denials_total{call="execve",process="child"} 1.0',
            'intramural_sandbox_denials_total{call="socket",process="child"} 1.0',
        }
        assert targets == ["model:hostile"] * 2
        report = (await client.post("/intramural/v1/attestations", json={})).json()
        said = {each["code"]: each for each in report["statement"]["findings"]}["refused"]
        assert said["colour"] == "red" and "socket (model:hostile)" in said["says"]
