"""An entry in the forms that other systems read: OCSF (security monitoring) and FHIR R4 AuditEvent (hospitals). Pure.

Nothing is in them that is not in the log: pseudonymous identifiers, sizes and commitments. The record itself goes along
as its leaf's position, so that whatever is found elsewhere can be proved here.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from intramural.audit.entries import Entry
from intramural.audit.record import canonical

Form = Literal["ocsf", "fhir", "jsonl"]

#: The version of OCSF whose classes and profile these are (github.com/ocsf/ocsf-schema).
OCSF_VERSION = "1.8.0"
_CREATED = ("created", "stored", "shelved", "set", "added", "requested", "received", "asked", "derived")
_DELETED = ("deleted", "removed", "expired", "revoked", "unloaded", "purged")
_READ = ("read", "verified", "searched", "measured", "fetched", "exported")
_DONE = ("answered", "succeeded", "started", "stopped", "ended", "loaded", "completed")
_OCSF_ACTIVITY = {"C": (1, "Create"), "R": (2, "Read"), "U": (3, "Update"), "D": (4, "Delete"), "E": (99, "Other")}
#: FHIR's `AuditEvent.outcome`: success, minor and serious failure.
_FHIR_OUTCOME = {"allowed": "0", "finished": "0", "cancelled": "4", "refused": "4", "failed": "8"}
_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_EVENTS_SYSTEM = "urn:intramural:audit-event"


def action_of(event: str) -> str:
    """What kind of act an event is: C, R, U, D, or E (something was run)."""
    last = event.rpartition(".")[2]
    for letter, words in (("C", _CREATED), ("D", _DELETED), ("R", _READ), ("E", _DONE)):
        if last in words:
            return letter
    return "E" if event.startswith("log") else "U"


def ocsf(entry: Entry, product_version: str) -> dict[str, Any]:
    """An OCSF event: Authentication (3002) for sign-ins, else API Activity (6003), of what a model did with the profile
    `ai_operation`."""
    ok = entry.outcome in ("allowed", "finished")
    found: dict[str, Any] = {
        "time": entry.time_ms,
        "severity_id": 1 if ok else 2,
        "status_id": 1 if ok else 2,
        "status_code": entry.outcome,
        "metadata": {
            "version": OCSF_VERSION,
            "uid": str(entry.position),
            "event_code": entry.event,
            "product": {"name": "intramural", "vendor_name": "intramural", "version": product_version},
            "profiles": [],
        },
        "actor": {"user": _ocsf_user(entry), "session": {"uid": entry.credential_id}},
        "src_endpoint": {"uid": entry.credential_id, "svc_name": "intramural"},
        "unmapped": {"facts": entry.facts, "texts": entry.texts, "skew_ms": entry.skew_ms},
    }
    if entry.event in ("login.succeeded", "login.failed", "logout"):
        found |= _classified(3002, 3, *((2, "Logoff") if entry.event == "logout" else (1, "Logon")))
        who = entry.target.removeprefix("person:") if entry.target.startswith("person:") else entry.actor_id
        return found | {"user": {"uid": who}, "service": {"name": "intramural"}}
    found |= _classified(6003, 6, *_OCSF_ACTIVITY[action_of(entry.event)])
    request = {} if entry.request_id is None else {"request": {"uid": entry.request_id}}
    found["api"] = {"operation": entry.event, **request}
    if entry.target:
        kind, _, name = entry.target.partition(":")
        found["resources"] = [{"type": kind, "uid": name or kind}]
    return found | _ai_operation(entry, found["metadata"])


def _classified(class_uid: int, category_uid: int, activity_id: int, activity: str) -> dict[str, Any]:
    return {
        "class_uid": class_uid,
        "category_uid": category_uid,
        "activity_id": activity_id,
        "activity_name": activity,
        "type_uid": class_uid * 100 + activity_id,
    }


def _ocsf_user(entry: Entry) -> dict[str, Any]:
    kind = {"person": (1, "User"), "key": (99, "Key"), "system": (3, "System")}.get(entry.actor_kind, (0, "Unknown"))
    return {"uid": entry.actor_id, "type_id": kind[0], "type": kind[1], "groups": [{"name": entry.actor_role}]}


def _ai_operation(entry: Entry, metadata: dict[str, Any]) -> dict[str, Any]:
    model, facts = entry.facts.get("model"), entry.facts
    is_answer = entry.event in ("chat.answered", "embedding.answered", "rerank.answered")
    if not (isinstance(model, Mapping) or is_answer):
        return {}
    metadata["profiles"] = ["ai_operation"]
    name = entry.target.removeprefix("model:")
    version = facts.get("weights")
    found: dict[str, Any] = {"ai_model": {"name": name, "model_name": name, "ai_provider": "intramural"}}
    if version:
        found["ai_model"]["version"] = version
    counts = {key: facts[key] for key in ("prompt_tokens", "completion_tokens") if isinstance(facts.get(key), int)}
    if counts:
        counts["total_tokens"] = sum(counts.values())
    role = 2 if is_answer else 1  # assistant, user
    return found | {"message_context": {"service": {"name": "intramural"}, "ai_role_id": role, **counts}}


def fhir(entry: Entry, product_version: str) -> dict[str, Any]:
    """A FHIR R4 `AuditEvent`: who, what, when, with which outcome; as BALP and ATNA have it, without names."""
    login = entry.event in ("login.succeeded", "login.failed", "logout")
    kind, shown = ("110114", "User Authentication") if login else ("110100", "Application Activity")
    details = [
        {"type": "position", "valueString": str(entry.position)},
        {"type": "facts", "valueString": canonical(entry.facts)},
    ]
    if entry.texts:
        details.append({"type": "texts", "valueString": canonical(entry.texts)})
    if entry.skew_ms:
        details.append({"type": "skew_ms", "valueString": str(entry.skew_ms)})
    entity: dict[str, Any] = {"detail": details}
    if entry.target:
        entity["what"] = {"identifier": {"system": "urn:intramural:target", "value": entry.target}}
    if entry.request_id:
        entity["what"] = entity.get("what", {}) | {"display": entry.request_id}
    return {
        "resourceType": "AuditEvent",
        "id": str(entry.position),
        "type": {"system": _DCM, "code": kind, "display": shown},
        "subtype": [{"system": _EVENTS_SYSTEM, "code": entry.event}],
        "action": action_of(entry.event),
        "recorded": datetime.fromtimestamp(entry.time_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "outcome": _FHIR_OUTCOME.get(entry.outcome, "8"),
        "outcomeDesc": entry.outcome,
        "agent": [
            {
                "who": {"identifier": {"system": f"urn:intramural:{entry.actor_kind}", "value": entry.actor_id}},
                "altId": entry.credential_id or "none",
                "role": [{"text": entry.actor_role}],
                "requestor": True,
            }
        ],
        "source": {
            "site": "intramural",
            "observer": {"display": f"intramural {product_version}"},
            "type": [{"system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4"}],
        },
        "entity": [entity],
    }
