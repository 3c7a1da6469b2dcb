"""Who may do what, over every route: each role, with what is their own, of somebody in their group, of a stranger, of
another workspace, and with what is gone. A route that the table does not name fails the build.
"""

import re
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from tests.house.matrix import GONE, KEPT, LETTERS, RELATIONS, ROLES, World, thing, world

from intramural.access import Charter
from intramural.access.policy import role_permissions
from intramural.audit import Wanted
from intramural.core.actor import CONSOLE
from intramural.core.clock import SystemClock
from intramural.http.build import routes_document
from intramural.metering import Meter, UsageRow

#: method path | thing | who may with their own (or where it is nobody's) | with that of somebody in their group | with
#: anybody's. Letters: A administrator, U auditor, G manager, M member, S service account; * everybody; open: strangers
#: too. Whoever may not gets a 403, whether it is there or not; but what is somebody else's own is to others a 404, the
#: same as for what is gone. (`U` may know of others' keys, and is told by a 403 that revoking them is not for them.)
TABLE = """
HEAD   /api/blobs/{digest}                       | blob | A
POST   /api/blobs/{digest}                       | blob | A
POST   /api/chat                                 |      | *
POST   /api/copy                                 |      | A
POST   /api/create                               |      | A
DELETE /api/delete                               |      | A
POST   /api/embed                                |      | *
POST   /api/embeddings                           |      | *
GET    /api/experimental/model-recommendations   |      | *
POST   /api/experimental/web_fetch               |      | *
POST   /api/experimental/web_search              |      | *
POST   /api/generate                             |      | *
POST   /api/me                                   |      | *
GET    /api/ps                                   |      | *
POST   /api/pull                                 |      | A
POST   /api/push                                 |      | A
POST   /api/show                                 |      | *
POST   /api/signout                              |      | *
GET    /api/status                               |      | *
POST   /api/systemone                            |      | *
GET    /api/tags                                 |      | *
DELETE /api/user/keys/{key}                      | ollama's key | *
GET    /api/version                              |      | *
POST   /api/web_fetch                            |      | *
POST   /api/web_search                           |      | *
POST   /apply-template                           |      | *
POST   /detokenize                               |      | *
GET    /scim/v2/ServiceProviderConfig            |      | A
GET    /scim/v2/ResourceTypes                    |      | A
GET    /scim/v2/ResourceTypes/{name}             | scim name | A
GET    /scim/v2/Schemas                          |      | A
GET    /scim/v2/Schemas/{name}                   | scim name | A
POST   /scim/v2/.search                          |      | A
GET    /scim/v2/Users                            |      | A
POST   /scim/v2/Users                            |      | A
GET    /scim/v2/Users/{person_id}                | scim user | A | A | A
PUT    /scim/v2/Users/{person_id}                | scim user | A | A | A
PATCH  /scim/v2/Users/{person_id}                | scim user | A | A | A
DELETE /scim/v2/Users/{person_id}                | scim user | A | A | A
GET    /scim/v2/Groups                           |      | A
POST   /scim/v2/Groups                           |      | A
GET    /scim/v2/Groups/{group_id}                | scim group | A | A | A
PUT    /scim/v2/Groups/{group_id}                | scim group | A | A | A
PATCH  /scim/v2/Groups/{group_id}                | scim group | A | A | A
DELETE /scim/v2/Groups/{group_id}                | scim group | A | A | A
POST   /tokenize                                 |      | *
GET    /healthz                                  |      | open
GET    /readyz                                   |      | open
GET    /metrics                                  |      | AU
POST   /mcp                                      |      | *
GET    /intramural/v1/ages                       |      | AUG
POST   /intramural/v1/ages                       |      | AG
GET    /intramural/v1/attestations               |      | AU
POST   /intramural/v1/attestations               |      | AU
GET    /intramural/v1/attestations/control/{token}        | token | open
GET    /intramural/v1/attestations/{attestation_id}       | attestation | AU
GET    /intramural/v1/attestations/{attestation_id}/page  | attestation | AU
GET    /intramural/v1/audit                      |      | AU
GET    /intramural/v1/audit/export               |      | AU
GET    /intramural/v1/audit/anchors              |      | AU
POST   /intramural/v1/audit/anchors              |      | AU
GET    /intramural/v1/audit/paper                |      | AU
GET    /intramural/v1/audit/log                  |      | AU
GET    /intramural/v1/audit/proof                |      | AU
GET    /intramural/v1/audit/consistency          |      | AU
POST   /intramural/v1/audit/verify               |      | AU
GET    /intramural/v1/break-glass                |      | AU
POST   /intramural/v1/break-glass                |      | A
GET    /intramural/v1/break-glass/{opening_id}   | opening | AU | AU | AU
POST   /intramural/v1/break-glass/{opening_id}/approve    | opening | AU | AU | AU
POST   /intramural/v1/break-glass/{opening_id}/refuse     | opening | AU | AU | AU
POST   /intramural/v1/break-glass/{opening_id}/close      | opening | AU | AU | AU
POST   /intramural/v1/break-glass/{opening_id}/open       | my opening | A | |
GET    /intramural/v1/break-glass/{opening_id}/owners     | my opening | A | |
GET    /intramural/v1/break-glass/{opening_id}/chats      | my opening | A | |
GET    /intramural/v1/break-glass/{opening_id}/chats/{chat_id}    | my opening | A | |
GET    /intramural/v1/break-glass/{opening_id}/files      | my opening | A | |
GET    /intramural/v1/break-glass/{opening_id}/files/{file_id}/content    | my opening | A | |
GET    /intramural/v1/break-glass/{opening_id}/responses  | my opening | A | |
GET    /intramural/v1/break-glass/{opening_id}/responses/{response_id}    | my opening | A | |
GET    /intramural/v1/break-glass/{opening_id}/conversations      | my opening | A | |
GET    /intramural/v1/break-glass/{opening_id}/conversations/{conversation_id}    | my opening | A | |
GET    /intramural/v1/break-glass/{opening_id}/batches    | my opening | A | |
GET    /intramural/v1/break-glass/{opening_id}/batches/{batch_id}/input   | my opening | A | |
GET    /intramural/v1/break-glass/{opening_id}/batches/{batch_id}/results | my opening | A | |
GET    /intramural/v1/catalogue                  |      | *
GET    /intramural/v1/chats                      |      | AUGM
POST   /intramural/v1/chats                      |      | AUGM
GET    /intramural/v1/chats/{chat_id}            | chat | AUGM | |
PATCH  /intramural/v1/chats/{chat_id}            | chat | AUGM | |
DELETE /intramural/v1/chats/{chat_id}            | chat | AUGM | |
GET    /intramural/v1/chats/{chat_id}/export     | chat | AUGM | |
POST   /intramural/v1/chats/{chat_id}/turns      | chat | AUGM | |
POST   /intramural/v1/consents                   |      | AG
DELETE /intramural/v1/consents/{consent_id}      | consent | AG | AG | A
GET    /intramural/v1/egress                     |      | AU
POST   /intramural/v1/egress/entries             |      | A
DELETE /intramural/v1/egress/entries/{entry_id}  | egress entry | A
GET    /intramural/v1/egress/ledger              |      | AU
GET    /intramural/v1/erasures/{person_id}       | erasure | AU
GET    /intramural/v1/evidence                   |      | AU
POST   /intramural/v1/evidence/look              |      | AU
GET    /intramural/v1/evidence/packs/{law}       | law  | AU
POST   /intramural/v1/evidence/rehearsals        |      | AU
POST   /intramural/v1/fit                        |      | A
GET    /intramural/v1/guard                      |      | *
POST   /intramural/v1/guard/check                |      | *
GET    /intramural/v1/groups                     |      | AUG
POST   /intramural/v1/groups                     |      | A
PATCH  /intramural/v1/groups/{group_id}          | group | A | A | A
DELETE /intramural/v1/groups/{group_id}          | group | A | A | A
GET    /intramural/v1/groups/{group_id}/members  | group | AUG | AUG | AU
PUT    /intramural/v1/groups/{group_id}/members/{person_id}    | group | A | A | A
DELETE /intramural/v1/groups/{group_id}/members/{person_id}    | group | A | A | A
GET    /intramural/v1/guard                      |      | *
POST   /intramural/v1/guard/check                |      | *
GET    /intramural/v1/keys                       |      | AUGM
POST   /intramural/v1/keys                       |      | AUGM
DELETE /intramural/v1/keys/{key_id}              | key  | AUGM | A | A
GET    /intramural/v1/legal-holds                |      | AU
POST   /intramural/v1/legal-holds                |      | AU
POST   /intramural/v1/legal-holds/{hold_id}/lift | legal hold | AU
POST   /intramural/v1/login                      |      | open
POST   /intramural/v1/login/passkey              |      | open
POST   /intramural/v1/login/passkey/begin        |      | open
POST   /intramural/v1/login/second               |      | AUGM
POST   /intramural/v1/logout                     |      | AUGM
GET    /intramural/v1/machine                    |      | AU
GET    /intramural/v1/me                         |      | *
POST   /intramural/v1/me/codes                   |      | AUGM
DELETE /intramural/v1/me/codes                   |      | AUGM
POST   /intramural/v1/me/codes/confirm           |      | AUGM
GET    /intramural/v1/me/consent                 |      | *
GET    /intramural/v1/me/export                  |      | AUGM
GET    /intramural/v1/me/openings                |      | AUGM
POST   /intramural/v1/me/openings/{opening_id}/seen    | notice | AUGM
GET    /intramural/v1/me/factors                 |      | AUGM
GET    /intramural/v1/me/notices                 |      | *
GET    /intramural/v1/me/passkeys                |      | AUGM
POST   /intramural/v1/me/passkeys                |      | AUGM
POST   /intramural/v1/me/passkeys/begin          |      | AUGM
DELETE /intramural/v1/me/passkeys/{passkey_id}   | passkey | AUGM
POST   /intramural/v1/me/password                |      | AUGM
POST   /intramural/v1/me/recovery-codes          |      | AUGM
GET    /intramural/v1/me/sessions                |      | AUGM
DELETE /intramural/v1/me/sessions/{session_id}   | session | AUGM | |
GET    /intramural/v1/models                     |      | *
DELETE /intramural/v1/models/{name}              | model | A
POST   /intramural/v1/models/{name}/load         | model | A
POST   /intramural/v1/models/{name}/pin          | model | A
POST   /intramural/v1/models/{name}/release      | model | A
POST   /intramural/v1/models/{name}/unload       | model | A
POST   /intramural/v1/models/{name}/unpin        | model | A
POST   /intramural/v1/models/{name}/verify       | model | A
GET    /intramural/v1/notices                    |      | *
POST   /intramural/v1/notices                    |      | A
GET    /intramural/v1/notices/all                |      | AU
PUT    /intramural/v1/notices/{notice_id}        | house notice | A
DELETE /intramural/v1/notices/{notice_id}        | house notice | A
POST   /intramural/v1/notices/{notice_id}/acknowledge    | house notice | AUGM
GET    /intramural/v1/notices/{notice_id}/readers    | house notice | AU
PUT    /intramural/v1/notices/{notice_id}/readers/{person_id}    | house notice | A
GET    /intramural/v1/notices/{notice_id}/versions/{digest}    | house notice | *
GET    /intramural/v1/oidc/{name}/callback       | provider | open
POST   /intramural/v1/oidc/{name}/logout         | provider | open
GET    /intramural/v1/oidc/{name}/start          | provider | open
GET    /intramural/v1/openapi.json               |      | *
GET    /intramural/v1/people                     |      | AUG
POST   /intramural/v1/people                     |      | A
POST   /intramural/v1/people/import              |      | A
GET    /intramural/v1/people/imports             |      | A
PATCH  /intramural/v1/people/{person_id}         | person | A | A | A
DELETE /intramural/v1/people/{person_id}         | person | A | A | A
GET    /intramural/v1/people/{person_id}/consents | oneself | AUGM | AUG | AU
POST   /intramural/v1/people/{person_id}/kept/accept     | person | A | A | A
POST   /intramural/v1/people/{person_id}/data-key | person | A | A | A
DELETE /intramural/v1/people/{person_id}/factors | person | A | A | A
GET    /intramural/v1/people/{person_id}/identities    | oneself | * | AU | AU
DELETE /intramural/v1/people/{person_id}/identities/{name}    | identity | A
POST   /intramural/v1/people/{person_id}/invitation    | identity | A
GET    /intramural/v1/policy/explain             |      | AUGM
GET    /intramural/v1/provenance/bill            |      | AU
POST   /intramural/v1/provenance/bundles/export  |      |
POST   /intramural/v1/provenance/bundles/import  |      |
POST   /intramural/v1/provenance/check           |      | A
GET    /intramural/v1/provenance/lock            |      | *
POST   /intramural/v1/provenance/sign            |      |
GET    /intramural/v1/provenance/signature       |      | *
POST   /intramural/v1/provenance/sync            |      | A
GET    /intramural/v1/pulls                      |      | A
POST   /intramural/v1/pulls                      |      | A
DELETE /intramural/v1/pulls/{pull_id}            | pull | A
POST   /intramural/v1/pulls/{pull_id}/cancel     | pull | A
GET    /intramural/v1/pulls/{pull_id}/events     | pull | A
POST   /intramural/v1/pulls/{pull_id}/pause      | pull | A
POST   /intramural/v1/pulls/{pull_id}/resume     | pull | A
GET    /intramural/v1/quotas                     |      | *
POST   /intramural/v1/quotas                     |      | A
GET    /intramural/v1/quotas/all                 |      | AU
DELETE /intramural/v1/quotas/{quota_id}          | quota | A
GET    /intramural/v1/reports/ai-act             |      | AU
GET    /intramural/v1/reports/ferpa-99.32/{student_id} | oneself | AUGM | AU | AU
GET    /intramural/v1/reports/hipaa-activity-review    |      | AU
POST   /intramural/v1/reports/hipaa-activity-review/sign-off    |      | AU
GET    /intramural/v1/retention                  |      | AU
POST   /intramural/v1/retention/run              |      | A
DELETE /intramural/v1/retention/run              |      | A
POST   /intramural/v1/reviews                    |      |
GET    /intramural/v1/roles                      |      | AU
PUT    /intramural/v1/roles/{name}               |      | A
DELETE /intramural/v1/roles/{name}               | role | A | A | A
POST   /intramural/v1/setup                      |      | open
GET    /intramural/v1/usage                      |      | AUG
GET    /intramural/v1/uses                       |      | AU
POST   /intramural/v1/vault/check                |      | AU
POST   /intramural/v1/vault/key                  |      | A
GET    /intramural/v1/verifier                   |      | open
GET    /intramural/v1/verifier/verify_intramural.py    |      | open
GET    /intramural/v1/welcome                    |      | open
GET    /intramural/v1/workspaces                 |      | *
POST   /intramural/v1/workspaces                 |      | A
GET    /intramural/v1/workspaces/all             |      | AU
PUT    /intramural/v1/workspaces/{workspace_id}  | workspace | A | A | A
DELETE /intramural/v1/workspaces/{workspace_id}  | workspace | A | A | A
POST   /intramural/v1/workspaces/{workspace_id}/close| workspace | A | A | A
POST   /intramural/v1/workspaces/{workspace_id}/open| workspace | A | A | A
PUT    /intramural/v1/workspaces/{workspace_id}/members/{member_id}    | workspace | A | A | A
DELETE /intramural/v1/workspaces/{workspace_id}/members/{member_id}    | workspace | A | A | A
PUT    /intramural/v1/workspaces/{workspace_id}/overseers/{person_id}    | workspace | A | A | A
DELETE /intramural/v1/workspaces/{workspace_id}/overseers/{person_id}    | workspace | A | A | A
PUT    /intramural/v1/workspaces/{workspace_id}/uses/{use}    | workspace | A | A | A
DELETE /intramural/v1/workspaces/{workspace_id}/uses/{use}    | workspace | A | A | A
POST   /v1/apply-template                        |      | *
POST   /v1/batches                               |      | *
GET    /v1/batches                               |      | *
GET    /v1/batches/{batch_id}                    | batch | * | |
POST   /v1/batches/{batch_id}/cancel             | batch | * | |
POST   /v1/chat/completions                      |      | *
GET    /v1/chat/completions                      |      | *
GET    /v1/chat/completions/{id}                 | answer | *
POST   /v1/chat/completions/{id}                 | answer | *
DELETE /v1/chat/completions/{id}                 | answer | *
GET    /v1/chat/completions/{id}/messages        | answer | *
POST   /v1/completions                           |      | *
POST   /v1/conversations                         |      | *
GET    /v1/conversations/{conversation_id}       | conversation | * | |
POST   /v1/conversations/{conversation_id}       | conversation | * | |
DELETE /v1/conversations/{conversation_id}       | conversation | * | |
POST   /v1/conversations/{conversation_id}/items | conversation | * | |
GET    /v1/conversations/{conversation_id}/items | conversation | * | |
GET    /v1/conversations/{conversation_id}/items/{item_id}    | conversation | * | |
DELETE /v1/conversations/{conversation_id}/items/{item_id}    | conversation | * | |
POST   /v1/detokenize                            |      | *
POST   /v1/embeddings                            |      | *
POST   /v1/files                                 |      | *
GET    /v1/files                                 |      | *
GET    /v1/files/{file_id}                       | file | * | |
DELETE /v1/files/{file_id}                       | file | * | |
GET    /v1/files/{file_id}/content               | file | * | |
POST   /v1/messages                              |      | *
POST   /v1/messages/batches                      |      | *
GET    /v1/messages/batches                      |      | *
GET    /v1/messages/batches/{batch_id}           | message batch | * | |
DELETE /v1/messages/batches/{batch_id}           | message batch | * | |
POST   /v1/messages/batches/{batch_id}/cancel    | message batch | * | |
GET    /v1/messages/batches/{batch_id}/results   | message batch | * | |
POST   /v1/messages/count_tokens                 |      | *
GET    /v1/models                                |      | *
GET    /v1/models/{name}                         | model | *
POST   /v1/moderations                           |      | *
GET    /v1/receipts/{id}                         | answer | *
POST   /v1/rerank                                |      | *
POST   /v1/responses                             |      | *
POST   /v1/responses/compact                     |      | *
POST   /v1/responses/input_tokens                |      | *
GET    /v1/responses/{response_id}               | response | * | |
DELETE /v1/responses/{response_id}               | response | * | |
POST   /v1/responses/{response_id}/cancel        | response | * | |
GET    /v1/responses/{response_id}/input_items   | response | * | |
GET    /v1/streams/{id}                          | answer | *
DELETE /v1/streams/{id}                          | answer | *
POST   /v1/tokenize                              |      | *
POST   /v2/rerank                                |      | *
"""
CHAT = {"model": "none:1b", "messages": [{"role": "user", "content": "hi"}]}
#: What is sent where nothing would be refused before anybody asked who may.
BODIES: dict[str, Any] = {
    "POST /intramural/v1/login/second": {"code": "x"},
    "POST /intramural/v1/me/codes/confirm": {"code": "x"},
    "POST /intramural/v1/me/passkeys": {"ticket": "x", "credential": {}, "name": "x"},
    "POST /api/chat": CHAT,
    "POST /intramural/v1/attestations": {"nonce": "no nonce"},
    "POST /api/copy": {"source": "none:1b", "destination": "x:1b"},
    "POST /api/create": {"model": "x:1b", "from": "none:1b", "stream": False},
    "DELETE /api/delete": {"model": "none:1b"},
    "POST /api/pull": {"model": "none:1b", "stream": False},
    "POST /api/push": {"model": "registry.example/a/none:1b", "stream": False},
    "POST /intramural/v1/chats": {"model": "none:1b"},
    "PATCH /intramural/v1/chats/{chat_id}": {"title": "x"},
    "POST /intramural/v1/chats/{chat_id}/turns": {"content": "hi"},
    "POST /intramural/v1/break-glass": {"purpose": "request", "reason": "x"},
    "POST /intramural/v1/evidence/rehearsals": {"backup": "20260101T000000Z"},
    "POST /intramural/v1/fit": {"model": "file:/none"},
    "POST /intramural/v1/guard/check": {"text": "MRN 00482913", "label": "phi"},
    "POST /intramural/v1/groups": {"name": "x"},
    "PATCH /intramural/v1/groups/{group_id}": {"name": "y"},
    "POST /intramural/v1/ages": {"people": [], "age": "adult"},
    "POST /intramural/v1/consents": {"people": [], "features": ["use"], "how": "paper"},
    "POST /intramural/v1/notices": {"title": "x", "text": "x", "audience": "role:nobody here"},
    "PUT /intramural/v1/notices/{notice_id}": {"title": "x", "text": "x"},
    "POST /intramural/v1/notices/{notice_id}/acknowledge": {"digest": "sha256:0"},
    "POST /intramural/v1/reviews": {"request_id": "req_0", "verdict": "confirmed"},
    "POST /intramural/v1/keys": {"name": "x"},
    "POST /intramural/v1/egress/entries": {"host": "a.example", "purpose": "pull", "verdict": "deny"},
    "POST /intramural/v1/legal-holds": {"subject": "person", "subject_id": "x", "reason": "an inquiry"},
    "POST /intramural/v1/legal-holds/{hold_id}/lift": {"reason": "it is over"},
    "POST /intramural/v1/me/password": {"old": "x", "new": "y"},
    "POST /intramural/v1/models/{name}/release": {"reason": "x"},
    "POST /intramural/v1/people": {"username": "-", "role": "service"},
    "PATCH /intramural/v1/people/{person_id}": {"disabled": True},
    "POST /intramural/v1/provenance/bundles/export": {"models": ["none:1b"], "to": "/x"},
    "POST /intramural/v1/provenance/bundles/import": {"path": "/x"},
    "POST /intramural/v1/provenance/sign": {"model": "none:1b", "key": {"key": "/x"}},
    "POST /intramural/v1/quotas": {
        "subject": "person",
        "subject_id": "x",
        "measure": "requests",
        "period": "day",
        "limit": 1,
    },
    "POST /intramural/v1/reports/hipaa-activity-review/sign-off": {"from_ms": 0, "to_ms": 1},
    "POST /intramural/v1/provenance/sync": {"lock": ""},
    "POST /intramural/v1/pulls": {"source": "file:/none"},
    "PUT /intramural/v1/roles/{name}": {"permissions": ["people.read"]},
    "POST /intramural/v1/workspaces": {"name": "workspace_", "label": "public"},
    "PUT /intramural/v1/workspaces/{workspace_id}": {"name": "Another name", "label": "public"},
    "PUT /scim/v2/Users/{person_id}": {"userName": "scim-again"},
    "PATCH /scim/v2/Users/{person_id}": {"Operations": [{"op": "replace", "path": "active", "value": False}]},
    "PUT /scim/v2/Groups/{group_id}": {"displayName": "x"},
    "PATCH /scim/v2/Groups/{group_id}": {"Operations": [{"op": "replace", "path": "displayName", "value": "y"}]},
    "POST /v1/conversations/{conversation_id}": {"metadata": {}},
    "POST /v1/conversations/{conversation_id}/items": {"items": [{"type": "message", "role": "user", "content": "hi"}]},
}
QUERIES: dict[str, dict[str, str]] = {
    "GET /intramural/v1/audit/proof": {"position": "0"},
    "GET /intramural/v1/audit/consistency": {"old": "1"},
    "GET /intramural/v1/reports/ai-act": {"system": "none:1b"},
    "GET /intramural/v1/reports/hipaa-activity-review": {"from_ms": "0", "to_ms": "1"},
    "GET /intramural/v1/policy/explain": {"action": "model.use"},
    "GET /intramural/v1/provenance/signature": {"model": "none:1b"},
}
#: They end the session that asks.
LAST = ("POST /intramural/v1/logout",)
EVERYBODY = "AUGMS"


#: Refused for another reason than who asks: a wrong password, a network that is shut.
PASSED = {"sign_in_failed", "code_wrong", "passkey_refused", "network_off"}
#: Somebody's own: to others it looks as if it were not there.
OWNED = {"chat", "key", "session", "file", "batch", "message batch", "response", "conversation", "my opening"}
#: Nobody's own: who may not is told so, there or not.
ADMINISTERED = {"person", "group", "workspace", "role", "consent", "opening", "scim user", "scim group"}
#: Of these there is none in a house without models, providers and limits.
NOT_HERE = {
    "model",
    "pull",
    "blob",
    "answer",
    "ollama's key",
    "passkey",
    "provider",
    "identity",
    "quota",
    "erasure",
    "legal hold",
    "egress entry",
    "notice",
    "house notice",
    "scim name",
    "law",
    "attestation",
    "token",
}
#: Who is told that a thing of somebody else's is not theirs, since they see it in a list anyhow.
KNOWS = {"DELETE /intramural/v1/keys/{key_id}": "U"}
KNOWS |= {
    f"{method} /intramural/v1/break-glass/{{opening_id}}/{rest}": "A"
    for method, rest in (
        ("POST", "open"), ("GET", "owners"), ("GET", "chats"), ("GET", "chats/{chat_id}"), ("GET", "files"),
        ("GET", "files/{file_id}/content"), ("GET", "responses"), ("GET", "responses/{response_id}"),
        ("GET", "conversations"), ("GET", "conversations/{conversation_id}"), ("GET", "batches"),
        ("GET", "batches/{batch_id}/input"), ("GET", "batches/{batch_id}/results"),
    )
}  # fmt: skip


def rows() -> dict[str, tuple[str, dict[str, str]]]:
    """`method path` → its thing, and for each relation the letters of who may."""
    found = {}
    for line in TABLE.strip().splitlines():
        route, kind, *columns = (cell.strip() for cell in line.split("|"))
        method, path = route.split()
        letters = [EVERYBODY if each == "*" else each for each in columns]
        letters += letters[-1:] * (3 - len(letters))
        own, same_group, others = letters
        may = {"own": own, "same group": same_group, "other": others, "other workspace": others, "deleted": own}
        may["own elsewhere"] = "" if kind in KEPT else own
        if kind in ADMINISTERED:
            may["deleted"] = others
        found[f"{method} {path}"] = (kind, may)
    return found


def test_every_route_is_in_the_table_and_nothing_else() -> None:
    documented = {
        f"{method.upper()} {path}" for path, methods in routes_document()["paths"].items() for method in methods
    }
    assert documented | {"GET /intramural/v1/openapi.json"} == set(rows())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def there(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("house") / "data") as made:
        yield made


async def ask(client: httpx.AsyncClient, route: str, ids: dict[str, str]) -> httpx.Response:
    method, path = route.split()
    body = None if method in ("GET", "HEAD") else BODIES.get(route, {})
    url = path.format(**({"name": "none:1b"} | ids))
    return await client.request(method, url, json=body, params=QUERIES.get(route))


def code_of(answer: httpx.Response) -> str:
    try:
        said = answer.json()
    except ValueError:
        return ""
    error = said.get("error", said)
    return str(error.get("code") or error.get("type")) if isinstance(error, dict) else str(said.get("code", ""))


@pytest.mark.asyncio(loop_scope="module")
async def test_the_routes_of_the_application_are_those_of_the_document(there: World) -> None:
    """What is served is looked at itself: a route that the document leaves out would be in no table."""
    app: Any = there.house.application
    while not isinstance(app, FastAPI):
        app = app._app  # the guards around it
    served = set()
    for path, methods in _routes(app.routes):
        served |= {f"{method} {_CONVERTER.sub('}', path)}" for method in methods}
    implied = {each.replace("GET", "HEAD", 1) for each in served if each.startswith("GET")}
    assert served - implied - set(rows()) == set()
    assert set(rows()) <= served


_CONVERTER = re.compile(r":\w+}")


def _routes(routes: Iterable[Any]) -> Iterator[tuple[str, set[str]]]:
    """Path and methods of all routes, with those of routers that were included."""
    for route in routes:
        if hasattr(route, "effective_candidates"):
            yield from _routes(route.effective_candidates())
        else:
            yield route.path, route.methods or set()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("route", [route for route in rows() if route not in LAST])
async def test_every_role_and_relation(there: World, route: str) -> None:
    kind, may = rows()[route]
    for letter, role in LETTERS.items():
        client = there.who[role].client
        gone = await ask(client, route, GONE.get(kind, {}))
        for relation in tried(kind, may):
            answer = gone
            if relation != "deleted":
                ids = await there.thing(kind, role, relation, lasting=kind in OWNED and relation != "own")
                answer = await ask(client, route, ids)
            same = (answer.status_code, code_of(answer)) == (gone.status_code, code_of(gone))
            said = (role, relation, answer.status_code, answer.text[:200])
            assert answer.status_code < 500 or answer.status_code in (501, 503), said
            match expected(route, kind, letter, may, relation):
                case "refused":
                    assert answer.status_code in ((403, 400) if code_of(answer) == "no_session" else (403,)), said
                case "gone":  # and nobody can tell what is not theirs from what is not there
                    assert answer.status_code == 404 and same, said
                case "allowed":
                    assert answer.status_code not in (401, 403) or code_of(answer) in PASSED, said
                    assert relation == "deleted" or kind == "oneself" or not same, said


def tried(kind: str, may: dict[str, str]) -> tuple[str, ...]:
    """The relations that can make a difference."""
    if not kind or kind in NOT_HERE:
        return ("deleted",)
    if kind == "oneself":
        return tuple(each for each in RELATIONS if each not in ("deleted", "own elsewhere"))
    if kind in ADMINISTERED and len(set(may.values())) == 1:
        return ("own", "deleted")
    return RELATIONS if kind in KEPT else tuple(each for each in RELATIONS if each != "own elsewhere")


def expected(route: str, kind: str, letter: str, may: dict[str, str], relation: str) -> str:
    """What the table says: `allowed`, `refused`, `gone` or `open`."""
    if may["own"] == "open":
        return "open"
    if letter not in may["own"]:
        # a service account's key has not the scope for keys; what is not its own is not there for it either
        return "gone" if kind == "key" and relation != "own" else "refused"
    if relation == "deleted" and kind in OWNED:
        return "gone"
    if letter in may[relation]:
        return "gone" if relation == "deleted" and kind in ADMINISTERED else "allowed"
    return "gone" if kind in OWNED and letter not in KNOWS.get(route, "") else "refused"


@pytest.mark.asyncio(loop_scope="module")
async def test_what_was_tried_on_others_things_left_them_as_they_were(there: World) -> None:
    """After every route was tried with them by everybody, whoever's they are still has them."""
    assert {kind for kind, _ in there.others} <= OWNED
    shown = {"chat": "/intramural/v1/chats/{chat_id}", "file": "/v1/files/{file_id}",
             "batch": "/v1/batches/{batch_id}", "message batch": "/v1/messages/batches/{batch_id}",
             "response": "/v1/responses/{response_id}",
             "conversation": "/v1/conversations/{conversation_id}/items/{item_id}"}  # fmt: skip
    for (kind, relation), ids in there.others.items():
        if kind in shown:
            role = relation.removeprefix("own elsewhere ")
            owner = there.who[role] if role in ROLES else there.owner("member", relation)
            answer = await owner.client.get(shown[kind].format(**ids), headers=there.inside(relation))
            assert answer.status_code == 200, (kind, relation, answer.text)


@pytest.mark.asyncio(loop_scope="module")
async def test_strangers_reach_what_is_open_and_nothing_else(there: World) -> None:
    async with there.client() as stranger:
        for route, (kind, may) in rows().items():
            answer = await ask(stranger, route, GONE.get(kind, {}))
            if may["own"] == "open":
                assert code_of(answer) != "no_credentials", route
            else:  # a body that does not fit may be refused before the credential is looked at, but never answered
                assert answer.status_code in (401, 400), (route, answer.text)


# what happened to others (named after the reports) --------------------------------------------------------------------


@pytest.mark.asyncio(loop_scope="module")
async def test_cve_2026_45349_nobody_continues_anothers_chat_by_its_identifier(there: World) -> None:
    """In Open WebUI whoever knew a chat's identifier could go on with it. Here: not by any of the ways to go on."""
    victim, eve = there.who["friend"], there.who["member"]
    chat = await there.chats.create(victim.person.id, "none:1b")
    turn = await there.chats.append_turn(victim.person.id, chat.id, "a secret")
    url = f"/intramural/v1/chats/{chat.id}"
    messages = [turn.user_message_id, turn.assistant_message_id]
    for body in ({"content": "and?"}, *({"content": None, "replace_from": each} for each in messages)):
        for headers in ({}, {"x-intramural-workspace": "Shared"}):
            answer = await eve.client.post(f"{url}/turns", json=body, headers=headers)
            assert (answer.status_code, code_of(answer)) == (404, "chat_not_found")
    response = await thing(there, "response", victim, "other")
    conversation = await thing(there, "conversation", victim, "other")
    for kept in (
        {"previous_response_id": response["response_id"]},
        {"conversation": conversation["conversation_id"]},
        {"input": [{"type": "item_reference", "id": conversation["item_id"]}]},
    ):
        answer = await eve.client.post("/v1/responses", json={"model": "none:1b", "input": "and?"} | kept)
        assert answer.status_code in (400, 404) and "not_found" in code_of(answer), answer.text
        assert code_of(answer) != "model_not_found"
    whole = (await victim.client.get(url)).json()
    assert [each["content"] for each in whole["messages"]] == ["a secret", ""]


@pytest.mark.asyncio(loop_scope="module")
async def test_cve_2026_45671_nobody_deletes_anothers_file_by_way_of_what_is_shared(there: World) -> None:
    """In Open WebUI a file could be deleted by whoever had a shared chat that named it. Here: naming it gives nothing,
    nor being in one workspace or one group, nor managing the owner's group, nor administering the service."""
    victim = there.who["friend"]
    file_id = (await thing(there, "file", victim, "other"))["file_id"]
    for role in LETTERS.values():
        client = there.who[role].client
        body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        assert code_of(await client.post("/v1/batches", json=body)) == "file_not_found"
        naming = [{"type": "input_image", "file_id": file_id}, {"type": "input_text", "text": "?"}]
        asked = {"model": "none:1b", "input": [{"role": "user", "content": naming}]}
        assert (await client.post("/v1/responses", json=asked)).status_code in (400, 404)
        for headers in ({}, {"x-intramural-workspace": "Shared"}, {"anthropic-version": "2023-06-01"}):
            answer = await client.delete(f"/v1/files/{file_id}", headers=headers)
            assert answer.status_code == 404, (role, answer.text)
    assert (await victim.client.get(f"/v1/files/{file_id}/content")).status_code == 200


# workspaces -----------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio(loop_scope="module")
async def test_a_chat_stays_in_its_workspace_and_its_workspace_with_its_members(there: World) -> None:
    mia, workspaces = there.who["member"], there.house.access.workspaces
    made = await there.act(workspaces.create, Charter("Clinic", "phi", {"clinic:8b"}, ["care", "teaching"]))
    await there.act(workspaces.admit, made.place.id, mia.person.id)
    inside = {"x-intramural-workspace": "clinic", "x-intramural-purpose": "care"}
    chat = (await mia.client.post("/intramural/v1/chats", json={"model": "none:1b"}, headers=inside)).json()
    url = f"/intramural/v1/chats/{chat['id']}"
    assert chat["workspace_id"] == made.place.id

    async def listed(**headers: str) -> bool:
        found = (await mia.client.get("/intramural/v1/chats", headers=headers)).json()["chats"]
        return chat["id"] in {each["id"] for each in found}

    assert await listed() and await listed(**inside) and not await listed(**{"x-intramural-workspace": "Shared"})
    for headers, status in (({}, 200), (inside, 200), ({"x-intramural-workspace": "Shared"}, 404)):
        assert (await mia.client.get(url, headers=headers)).status_code == status
    turn = {"content": "hi"}
    for headers, code in (({}, "purpose_required"), (inside, "model_not_in_workspace")):
        answer = await mia.client.post(f"{url}/turns", json=turn, headers=headers)
        assert code in answer.text or "model_not_in_workspace" in answer.text, answer.text
    outside = (await mia.client.post("/intramural/v1/chats", json={"model": "none:1b"})).json()
    assert (await mia.client.get(f"/intramural/v1/chats/{outside['id']}", headers=inside)).status_code == 404
    await there.act(workspaces.dismiss, made.place.id, mia.person.id)
    assert not await listed()
    for headers in ({}, inside):
        answer = await mia.client.get(url, headers=headers)
        assert (answer.status_code, code_of(answer)) == (404, "workspace_not_found")
    await there.act(workspaces.admit, made.place.id, there.ids["group"])
    assert (await mia.client.get(url)).status_code == 200 and await listed()


@pytest.mark.asyncio(loop_scope="module")
async def test_asking_in_a_workspace(there: World) -> None:
    mia, eve = there.who["member"], there.who["stranger"]
    there_is_none = await mia.client.get("/v1/models", headers={"x-intramural-workspace": "Nowhere"})
    not_hers = await eve.client.get("/v1/models", headers={"x-intramural-workspace": "Shut"})
    for answer in (there_is_none, not_hers):
        assert (answer.status_code, code_of(answer)) == (404, "workspace_not_found")
    assert there_is_none.json() == not_hers.json(), "whoever is no member does not learn that it is there"
    wanted = Wanted(event="access.refused", actor_id=eve.person.id)
    newest = (await there.house.services.records.search(CONSOLE, wanted, 1)).entries[0]
    assert (newest.facts["rule"], newest.target) == ("not_in_workspace", f"workspace:{there.ids['shut']}")
    inside = {"x-intramural-workspace": there.ids["shared"]}
    me = (await mia.client.get("/intramural/v1/me", headers=inside)).json()
    assert me["workspace"] == there.ids["shared"]
    long = await mia.client.get("/v1/models", headers={"x-intramural-workspace": "x" * 300})
    assert code_of(long) == "bad_workspace_header"
    key, secret = await there.act(
        there.house.access.keys.create, mia.person.id, "k", ["inference"], workspace_id=there.ids["shared"]
    )
    async with there.client(authorization=f"Bearer {secret}") as program:
        assert (await program.get("/v1/models")).status_code == 200
        other = await program.get("/v1/models", headers={"x-intramural-workspace": "Nowhere"})
        assert code_of(other) == "workspace_not_found"
        await there.act(there.house.access.workspaces.admit, there.ids["shut"], mia.person.id)
        other = await program.get("/v1/models", headers={"x-intramural-workspace": "Shut"})
        assert (other.status_code, code_of(other)) == (403, "other_workspace")
        await there.act(there.house.access.workspaces.dismiss, there.ids["shut"], mia.person.id)
    assert key.workspace_id == there.ids["shared"]


# managers, service accounts, roles of one's own -----------------------------------------------------------------------


@pytest.mark.asyncio(loop_scope="module")
async def test_a_manager_sees_their_groups_and_only_those(there: World) -> None:
    client = there.who["manager"].client
    people = {each["username"] for each in (await client.get("/intramural/v1/people")).json()["people"]}
    assert people >= {"manager", "member", "friend"} and not people & {"stranger", "insider"}
    groups = {each["id"] for each in (await client.get("/intramural/v1/groups")).json()["groups"]}
    assert there.ids["group"] in groups and there.ids["outer"] not in groups
    rows_of_usage = await client.get("/intramural/v1/usage", params={"by": "person"})
    assert rows_of_usage.json() == {"rows": []}
    refused = await client.get(f"/intramural/v1/groups/{there.ids['outer']}/members")
    assert (refused.status_code, code_of(refused)) == (403, "not_in_your_groups")


@pytest.mark.asyncio(loop_scope="module")
async def test_usage_is_summed_for_whom_a_manager_manages(there: World) -> None:
    meter = Meter(there.db, SystemClock())
    for name in ("friend", "stranger"):
        row = UsageRow(f"r-{name}", there.who[name].person.id, "k", "m", "", "openai", "chat", "finished", 1, 1)
        await meter.record(row)
    for role, expected in (("manager", {"friend"}), ("auditor", {"friend", "stranger"})):
        answer = await there.who[role].client.get("/intramural/v1/usage", params={"by": "person"})
        assert {each["key"] for each in answer.json()["rows"]} == expected


@pytest.mark.asyncio(loop_scope="module")
async def test_nobody_gets_hold_of_a_role_that_may_more(there: World) -> None:
    """A help desk resets passwords, but not the administrator's; and makes nobody an administrator."""
    access, eve = there.house.access, there.who["stranger"]
    granted = [*role_permissions("member"), "people.read", "people.change", "people.create"]
    await there.act(access.roles.put, "help desk", granted)
    await there.act(access.people.change, eve.person.id, role="help desk")
    try:
        friend, boss = there.who["friend"].person.id, there.who["administrator"].person.id
        for target, change, status in (
            (friend, {"role": "member"}, 200),
            (boss, {"password": "a new long password"}, 403),
            (boss, {"disabled": True}, 403),
            (friend, {"role": "administrator"}, 403),
            (eve.person.id, {"role": "auditor"}, 403),
        ):
            answer = await eve.client.patch(f"/intramural/v1/people/{target}", json=change)
            assert answer.status_code == status, answer.text
            assert status == 200 or code_of(answer) == "beyond_you"
        for method, path in (("DELETE", "factors"), ("POST", "invitation"), ("DELETE", "identities/school")):
            answer = await eve.client.request(method, f"/intramural/v1/people/{boss}/{path}")
            assert (answer.status_code, code_of(answer)) == (403, "beyond_you"), path
        body = {"username": "mallory", "password": "a long password", "role": "administrator"}
        assert code_of(await eve.client.post("/intramural/v1/people", json=body)) == "beyond_you"
    finally:
        await there.act(access.people.change, eve.person.id, role="member")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_service_account_gets_its_keys_from_an_administrator(there: World) -> None:
    robot = there.who["service"].person.id
    body = {"name": "k", "person_id": robot}
    made = await there.who["administrator"].client.post("/intramural/v1/keys", json=body)
    assert made.status_code == 201
    async with there.client(authorization=f"Bearer {made.json()['secret']}") as program:
        assert (await program.get("/intramural/v1/me")).json()["role"] == "service"
    for role in ("auditor", "manager", "member"):
        assert code_of(await there.who[role].client.post("/intramural/v1/keys", json=body)) == "not_yours"
    body["person_id"] = there.who["friend"].person.id
    assert code_of(await there.who["administrator"].client.post("/intramural/v1/keys", json=body)) == "not_yours"


# the policy explains itself -------------------------------------------------------------------------------------------


@pytest.mark.asyncio(loop_scope="module")
async def test_why_can_i_not(there: World) -> None:
    async def explained(who: str, **asked: str) -> dict[str, Any]:
        answer = await there.who[who].client.get("/intramural/v1/policy/explain", params=asked)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    mine = await explained("member", action="people.read", thing="all")
    assert (mine["allowed"], mine["rule"]) == (False, "role_missing") and mine["hint"]
    assert (await explained("manager", action="people.read", thing="all"))["rule"] == "manages"
    assert (await explained("member", action="model.use", thing="model:a:1b"))["allowed"]
    shut = await explained("auditor", action="model.use", person="member", workspace="Shut")
    assert (shut["rule"], shut["person"]) == ("not_in_workspace", "member")
    asked = {"action": "chats.read", "thing": "person:friend", "person": "administrator"}
    assert (await explained("auditor", **asked))["rule"] == "not_yours"
    client = there.who["member"].client
    refusal = (await client.get("/intramural/v1/audit")).json()["error"]
    again = await explained("member", **refusal["asked"])
    assert (again["rule"], again["reason"], again["hint"]) == (refusal["code"], refusal["message"], refusal["hint"])
    assert len(again["group_names"]) == len(again["groups"]) >= 1 and again["group_names"] != again["groups"]
    for asked, status, code in (
        ({"action": "people.read", "person": "friend"}, 403, "not_yours"),
        ({"action": "chats.read", "thing": "person:friend"}, 400, "bad_thing"),
        ({"action": "fly"}, 400, "bad_action"),
        ({"action": "model.use", "thing": "moon:1"}, 400, "bad_thing"),
    ):
        answer = await client.get("/intramural/v1/policy/explain", params=asked)
        assert (answer.status_code, code_of(answer)) == (status, code)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("route", LAST)
async def test_signing_out_is_for_who_has_a_session(there: World, route: str) -> None:
    """The last of this file: afterwards only the service account can still ask."""
    for letter, role in LETTERS.items():
        answer = await ask(there.who[role].client, route, {})
        assert answer.status_code == (400 if letter == "S" else 204)
        assert (await there.who[role].client.get("/intramural/v1/me")).status_code == (200 if letter == "S" else 401)
