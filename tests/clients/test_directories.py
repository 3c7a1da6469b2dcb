"""A directory that provisions, as the checker of SCIM's own library has it."""

from pathlib import Path

import pytest
from tests.clients.conftest import printed
from tests.clients.environments import environment
from tests.service import Service

pytestmark = [pytest.mark.timeout(600), pytest.mark.clients]


def test_the_checker_of_scim2_finds_nothing_wrong(service: Service, told: dict[str, str]) -> None:
    service.page("PUT", "/roles/directory", json={"permissions": ["people.provision"]})
    account = service.page("POST", "/people", json={"username": "checker", "role": "directory"}).json()
    key = service.new_key(scopes=["provision"], person_id=account["id"])
    program = Path(__file__).parent / "programs/suite_scim.py"
    found = printed([str(environment("scim") / "bin/python"), str(program)], {**told, "INTRAMURAL_KEY": key})
    assert found["failed"] == []
    assert found["checks"] >= 60
