"""The checks of scim2-tester, all of them, against the address and key that are told. Prints what did not succeed."""

import json
import os

import httpx2
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import check_server

address, key = (os.environ[f"INTRAMURAL_{name}"] for name in ("ADDRESS", "KEY"))
with httpx2.Client(base_url=f"{address}/scim/v2", headers={"Authorization": f"Bearer {key}"}) as http:
    client = SyncSCIMClient(http)
    client.discover()
    results = list(check_server(client))
failed = [f"{each.title}: {each.reason}" for each in results if each.status.name not in ("SUCCESS", "COMPLIANT")]
print(json.dumps({"checks": len(results), "failed": failed}))
