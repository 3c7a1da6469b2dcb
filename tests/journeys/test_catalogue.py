"""The catalogue through the front door, and on the command line."""

import requests
from tests.service import MODEL, Service


def test_the_catalogue_says_what_fits_and_what_is_here(service: Service) -> None:
    answer = service.page("GET", "/catalogue")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["source"] == "built in"
    assert found["signed_by"].startswith("intramural")
    assert found["machine"]["memory_bytes"] > found["machine"]["budget_bytes"] > 0
    assert found["disk"]["total_bytes"] > found["disk"]["free_bytes"] > 0
    assert found["disk"]["library_bytes"] == 98_362_432
    entries = {entry["id"]: entry for entry in found["entries"]}
    starter = entries["smollm2-135m"]["variants"][0]
    assert starter["installed"] == MODEL
    assert (starter["pinned"], starter["size_known"], starter["servable"]) == (True, True, True)
    assert starter["fit"]["verdict"] in ("comfortable", "tight")
    assert starter["fit"]["tokens_per_s"] > 1
    large = entries["llama-3.1-405b"]
    assert large["licence"]["hospitals"] == "conditions"
    assert not large["variants"][0]["pinned"]
    assert "GB" in large["variants"][0]["fit"]["because"]


def test_a_stranger_does_not_see_it(service: Service) -> None:
    assert requests.get(f"{service.address}/intramural/v1/catalogue", timeout=30).status_code == 401


def test_searching_on_the_command_line(service: Service) -> None:
    every = service.command("search")
    assert len(every) >= 74
    coders = service.command("search", "mistral", "--task", "code")
    assert {"Devstral Small 24B 2507", "Codestral 22B v0.1"} <= {row["name"] for row in coders}
    fitting = service.command("search", "--fits")
    assert fitting
    assert all(row["fits"] != "no" for row in fitting)
    assert service.command("search", "no such thing") == []
