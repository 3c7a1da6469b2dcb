"""Every control fails in the next pack once it is turned off; packs can be signed, and promise nothing."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from intramural.audit import canonical
from intramural.cli.root import cli
from intramural.core.config import AccessConfig, ConsentConfig, EvidenceConfig
from intramural.core.retention import DAY_MS
from intramural.guard import policies
from intramural.sandbox.readback import Held
from intramural.services.evidence import PACKS, checks
from intramural.services.evidence.controls import CONTROLS
from intramural.services.evidence.facts import (
    Declared,
    Facts,
    Kept,
    KeptFacts,
    LogFacts,
    MachineFacts,
    ModelFacts,
    PeopleFacts,
    Place,
    Recipient,
    Somebody,
    VaultFacts,
    WayFacts,
)
from intramural.services.evidence.gathering import _passing
from intramural.services.evidence.page import page
from intramural.services.evidence.written import MOST_BYTES, looked, statement

NOW_MS = 1_800_000_000_000
WORKER = Held("m:1b", "worker", 7, 60_001, True, 1, True, "0", ("lo",), 4_026_531_840)
GATEWAY = replace(WORKER, name="gateway", role="gateway", interfaces=("lo", "eth0"))
DAYS = {"chat": 365, "file": 365, "log": 2_192}
LONG = {"chat": 365, "file": 365, "log": 400}
OUTSIDE = Place("", "outside workspaces", "internal", DAYS)
CLINIC = Place("workspace_1", "Clinic", "phi", DAYS, ("care",))
MATHS = Place("workspace_2", "Maths", "education", LONG, ("homework",))

#: An installation in which every control is met.
GOOD = Facts(
    now_ms=NOW_MS,
    machine=MachineFacts(
        "full", "Landlock 6", "full", ("landlock", "seccomp"), [GATEWAY, WORKER], 0o700, 0o700, NOW_MS, "green"
    ),
    way=WayFacts(
        "supervised", [Recipient("hub.example", 443, "pull", "setting:library.hub")], (), (), "127.0.0.1", False
    ),
    log=LogFacts(42, "00" * 32, NOW_MS - 900 * DAY_MS, "", "green", "1 h ago", 30, None, False, 3, 0, 2, 0),
    vault=VaultFacts(True, "passphrase", NOW_MS - DAY_MS, 0, 1, 0),
    kept=KeptFacts(
        [OUTSIDE, CLINIC, MATHS], [Kept("Clinic", "chats", 3, 365)], False, NOW_MS - 60_000, "",
        NOW_MS - DAY_MS, NOW_MS - 30 * DAY_MS,
    ),
    people=PeopleFacts(
        [Somebody("ada", "administrator", 1), Somebody("bob", "auditor", 0)], (), 1, (), 2, 0, (), (), "consent_needed",
        2, True,
    ),
    models=ModelFacts(
        "pinned", {"m:1b": "pinned"}, {"phi": (), "education": ()}, {"phi": (), "education": ()},
        [Declared("Admissions", ("admission",), 1, NOW_MS - DAY_MS)], ["How we use AI"], True,
    ),
    access=AccessConfig(second_factor_for="everyone", passkey_for="administrators"),
    consent=ConsentConfig(unknown_age="13-15"),
    evidence=EvidenceConfig(),
)  # fmt: skip


def but(part: str, **changes: Any) -> Facts:
    """GOOD with one part changed."""
    return replace(GOOD, **{part: replace(getattr(GOOD, part), **changes)})


def place(which: Place, **changes: Any) -> Facts:
    changed = replace(which, **changes)
    return but("kept", places=[changed if each is which else each for each in GOOD.kept.places])


def process(**changes: Any) -> Facts:
    return but("machine", processes=[GATEWAY, replace(WORKER, **changes)])


def declared(**changes: Any) -> Facts:
    return but("models", declared=[replace(GOOD.models.declared[0], **changes)])


#: What turns each control off. A control that is not here fails the build.
OFF: dict[str, list[Facts]] = {
    "workers-confined": [but("machine", confinement="no-netns"), but("machine", confinement="none")],
    "processes-confined": [
        process(interfaces=("lo", "eth0")), process(seccomp=False), process(no_new_privileges=False),
    ],
    "service-sealed": [but("machine", seal="off", seal_layers=()), but("machine", seal="no-landlock")],
    "data-private": [but("machine", data_mode=0o755), but("machine", secrets_mode=0o740)],
    "attested": [
        but("machine", attested_ms=None), but("machine", attested="red"),
        but("machine", attested_ms=NOW_MS - 32 * DAY_MS),
    ],
    "way-out-decided": [but("way", egress="open")],
    "answered-inside": [but("way", outside=("vllm at https://a.example",))],
    "reached-encrypted": [but("way", listens="0.0.0.0"), but("way", listens="10.0.0.7")],
    "reaches-encrypted": [but("way", plain=("vllm at http://gpu1.example",))],
    "words-sealed": [but("vault", sealed=False)],
    "key-locked": [but("vault", lock="")],
    "kept-whole": [but("vault", wrong=1), but("vault", checked_ms=NOW_MS - 32 * DAY_MS)],
    "erased-stay-erased": [but("vault", returned=1)],
    "log-verifies": [but("log", wrong="Entry 3 is not the one that was signed.")],
    "log-anchored": [but("log", anchors="amber"), but("log", anchors="red")],
    "activity-reviewed": [but("log", review_days=0), but("log", missed_review="It is missed.")],
    "log-kept": [but("log", purged_earlier=True), place(OUTSIDE, days=DAYS | {"log": 183})],
    "log-kept-health": [but("log", purged_earlier=True), place(CLINIC, days=DAYS | {"log": 2_191})],
    "log-kept-education": [place(MATHS, days=LONG | {"log": 364}), place(MATHS, days={"log": 9_999})],
    "answers-traceable": [but("log", lacking=1)],
    "disclosures-recorded": [but("log", unnamed=1), but("log", wrong="Entry 3 is not the one that was signed.")],
    "names-unique": [but("people", names_twice=("ada",))],
    "second-factor": [but("access", second_factor_for="administrators"), but("access", second_factor_for="nobody")],
    "administrators-by-passkey": [but("access", passkey_for="nobody")],
    "guesses-limited": [
        but("access", login_attempts=1_000), but("access", login_window_s=10.0), but("access", login_window_s=0.0),
        but("access", login_attempts_per_address=0),
    ],
    "sessions-end": [but("access", session_idle_s=86_400.0), but("access", session_idle_s=0.0)],
    "shut-out": [but("people", let_in=("person_1",))],
    "keys-end": [but("people", endless_keys=1)],
    "emergency-possible": [
        but("people", people=[Somebody("bob", "auditor", 0)]), but("people", log_readers=1),
    ],
    "emergency-by-two": [but("people", second_person=False)],
    "others-unread": [but("people", readers=("administrator: chats.read",))],
    "auditor-named": [but("people", people=[Somebody("ada", "administrator", 1)])],
    "own-access": [but("people", refused_own=("me.export",))],
    "kept-for-a-time": [place(OUTSIDE, days={"file": 1}), place(CLINIC, days={"chat": 1})],
    "deleted-in-time": [but("kept", purge_error="audit_unavailable"), but("kept", purged_ms=NOW_MS - 3 * 3_600_000)],
    "texts-limited": [
        replace(place(OUTSIDE, days={"chat": 1, "file": 1}), kept=replace(
            place(OUTSIDE, days={"chat": 1, "file": 1}).kept, texts_beside_log=True)),
    ],
    "backed-up": [but("kept", backed_up_ms=None), but("kept", backed_up_ms=NOW_MS - 8 * DAY_MS)],
    "restore-rehearsed": [but("kept", rehearsed_ms=None), but("kept", rehearsed_ms=NOW_MS - 366 * DAY_MS)],
    "guard-health": [but("models", lets_pass={"phi": ("name",), "education": ()})],
    "guard-education": [but("models", lets_pass={"phi": (), "education": ("student",)})],
    "guard-names": [but("models", blind={"phi": ("name",), "education": ()})],
    "purposes-named": [place(CLINIC, purposes=()), place(MATHS, purposes=())],
    "consent-asked": [but("people", child="")],
    "ages-young": [but("consent", unknown_age="adult")],
    "told-of-ai": [but("models", notice_of_ai=False)],
    "answers-labelled": [but("consent", label_answers=False)],
    "people-informed": [but("models", notices=[])],
    "overseen": [declared(overseers=0)],
    "outputs-reviewed": [declared(reviewed_ms=None), declared(reviewed_ms=NOW_MS - 32 * DAY_MS)],
    "models-trusted": [but("models", required_trust="local")],
}  # fmt: skip

#: Facts under which there is nothing to see.
NOTHING: list[tuple[str, Facts]] = [
    ("processes-confined", but("machine", processes=[GATEWAY])),
    ("service-sealed", but("machine", seal=None)),
    ("kept-whole", but("vault", checked_ms=None)),
    ("erased-stay-erased", but("vault", erased=0)),
    ("answers-traceable", but("log", answers=0)),
    ("disclosures-recorded", but("log", disclosures=0)),
    ("purposes-named", but("kept", places=[OUTSIDE, replace(CLINIC, purposes=(), closed=True)])),
    ("shut-out", but("people", shut_out=0)),
    ("keys-end", but("people", keys=0)),
    ("deleted-in-time", but("kept", purged_ms=None)),
    ("overseen", but("models", declared=[])),
    ("outputs-reviewed", but("models", declared=[])),
    *((each, but("kept", places=[OUTSIDE])) for each in (
        "log-kept-health", "log-kept-education", "guard-health", "guard-education", "guard-names", "purposes-named")),
]  # fmt: skip


def made(law: str, facts: Facts) -> dict[str, Any]:
    return statement(PACKS[law], facts, looked(facts, {}), "1.0")


def results(facts: Facts) -> dict[str, str]:
    """What every control of every pack says."""
    return {each["control"]: each["outcome"] for law in PACKS for each in made(law, facts)["controls"]}


def test_every_control_is_in_a_pack_and_is_met_where_all_is_well() -> None:
    assert set(results(GOOD)) == set(CONTROLS)
    assert {name for name, outcome in results(GOOD).items() if outcome != "met"} == set()


def test_every_control_has_something_that_turns_it_off() -> None:
    assert OFF.keys() == CONTROLS.keys()


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_that_is_turned_off_fails_in_the_next_pack(control: str) -> None:
    for facts in OFF[control]:
        assert results(facts)[control] == "failed"
        for law, pack in PACKS.items():
            said = made(law, facts)
            failing = {each["control"] for each in said["controls"] if each["outcome"] == "failed"}
            assert said["sums"]["failed"] == len(failing)
            assert (control in failing) == any(control in each.controls for each in pack.provisions)
            assert ("What failed" in page(said, "0" * 64)) == bool(failing)


@pytest.mark.parametrize(("control", "facts"), NOTHING)
def test_where_there_is_nothing_to_see_that_is_said(control: str, facts: Facts) -> None:
    assert results(facts)[control] == "not seen"


def test_since_when_a_control_has_come_to_what_it_comes_to() -> None:
    first = looked(GOOD, {})
    before = {each.control: (each.outcome, each.since_ms) for each in first.values()}
    later = replace(but("consent", label_answers=False), now_ms=NOW_MS + 5)
    after = looked(later, before)
    assert (after["answers-labelled"].outcome, after["answers-labelled"].since_ms) == ("failed", NOW_MS + 5)
    assert (after["told-of-ai"].since_ms, after["told-of-ai"].checked_ms) == (NOW_MS, NOW_MS + 5)


def test_a_guard_rule_that_lets_a_class_pass_is_told() -> None:
    as_it_comes = policies(())
    for label in ("phi", "education"):
        assert list(_passing(policies((f"{label}: name=warn",))[label], as_it_comes[label])) == ["name"]
        assert list(_passing(policies((f"{label}: name=block",))[label], as_it_comes[label])) == []


def test_provisions_name_controls_that_there_are_and_are_cited_once() -> None:
    for pack in PACKS.values():
        cites = [each.cite for each in pack.provisions]
        assert len(cites) == len(set(cites))
        for each in pack.provisions:
            assert set(each.controls) <= CONTROLS.keys(), each.cite
            assert each.controls or each.remains, f"{each.cite}: neither shown nor left to anybody"
    kinds = {each.cite: each.kind for each in PACKS["hipaa"].provisions}
    assert kinds["45 CFR 164.312(a)(2)(i)"] == "required" and kinds["45 CFR 164.312(a)(2)(iii)"] == "addressable"
    assert kinds["45 CFR 164.308(a)(1)(ii)(D)"] == "required" and kinds["45 CFR 164.312(b)"] == "standard"
    assert all(kinds.values())


#: Of itself a program is none of it. (The general words are looked for in every text by `tests/house/test_wording`.)
PROMISES = re.compile(
    r"complian|comply|complies|certif|conformity|conforms?\b|de-?identif|anonym|guaranteed|fully secure|legally", re.I
)


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in texts(each)]
    if isinstance(value, list | tuple):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("law", PACKS)
def test_packs_claim_evidence_and_nothing_else(law: str) -> None:
    for facts in (GOOD, *(each for some in OFF.values() for each in some), *(each for _, each in NOTHING)):
        said = made(law, facts)
        for text in (*texts(said), page(said, "0" * 64)):
            assert not PROMISES.search(text), (PROMISES.search(text), text[:200])
    assert "no judgement" in made(law, GOOD)["says"] and "evidence" in page(made(law, GOOD), "")


def test_the_pattern_finds_promises() -> None:
    for text in ("HIPAA compliant", "is certified", "in conformity with", "anonymous", "de-identified", "We comply"):
        assert PROMISES.search(text)


def test_a_pack_of_a_large_house_can_be_signed() -> None:
    many = [replace(CLINIC, id=f"workspace_{n}", name=f"Ward {n} " + "x" * 50) for n in range(500)]
    reach = [Recipient(f"host-{n}." + "a" * 60 + ".example", 443, "engine", f"egress_{n:026d}") for n in range(500)]
    facts = replace(but("kept", places=many), way=replace(GOOD.way, recipients=reach))
    facts = replace(facts, models=replace(facts.models, lets_pass={"phi": ("name",) * 30, "education": ()}))
    listed = {each["what"]: each["lines"] for each in made("gdpr", facts)["record"]}
    assert listed["Recipients"][-1] == "… and 460 more, which are not listed here."
    # names in letters of which each takes six bytes, and all that somebody may set
    long = [replace(each, name="病" * 120, purposes=("歯" * 60,) * 20) for each in many]
    said = EvidenceConfig("校" * 9_000, "長" * 9_000, "法" * 9_000, "国" * 9_000)
    worst = replace(facts, kept=replace(facts.kept, places=long), evidence=said)
    worst = replace(worst, consent=replace(worst.consent, institution="院" * 9_000))
    for law in PACKS:
        assert len(canonical(made(law, facts))) <= MOST_BYTES, law
        assert len(canonical(made(law, worst))) <= MOST_BYTES, law
    assert "more, which are not listed here" in str(made("gdpr", worst)["record"])


def test_what_only_people_know_is_a_blank_or_what_they_said() -> None:
    blanks = {each["what"] for each in made("gdpr", GOOD)["record"] if each["blank"]}
    assert blanks == {
        "Name and contact details of the controller",
        "Data protection officer",
        "Legal basis of the processing",
        "Transfers to third countries",
    }
    named = but("evidence", controller="Springfield Schools, <b>7 Elm Street</b>", legal_basis="article 6(1)(e)")
    said = made("gdpr", named)
    [controller] = [each for each in said["record"] if each["setting"] == "evidence.controller"]
    assert controller["lines"] == ["Springfield Schools, <b>7 Elm Street</b>"] and not controller["blank"]
    shown = page(said, "0" * 64)
    assert "&lt;b&gt;7 Elm" in shown and "<b>" not in shown
    assert shown.count("To be filled in by the institution") == 5, "its name, two of the record, two of the assessment"
    assert "record" not in made("hipaa", GOOD)


def test_the_record_is_of_what_is_configured() -> None:
    record = {each["what"]: "\n".join(each["lines"]) for each in made("gdpr", GOOD)["record"]}
    assert "Workspace Clinic (phi): care" in record["Purposes of the processing"]
    assert record["Recipients"] == "hub.example:443 for pull, by setting:library.hub"
    assert "1 with the role auditor" in record["Categories of data subjects"]
    assert "Kept now: 3 chats" in record["Categories of personal data"]
    assert "Clinic: chat 365 days, file 365 days, log 2192 days" in record["Time limits for erasure"]
    sealed = {each["what"]: each["lines"] for each in made("gdpr", but("way", egress="sealed"))["record"]}
    assert sealed["Recipients"] == ["None: the service is sealed, and nothing may leave the machine."]


def test_a_page_asks_nothing_of_anybody() -> None:
    shown = page(made("gdpr", GOOD), "0" * 64)
    assert not re.search(r"<script|https?://|src=|@import|url\(", shown)
    for link in re.findall(r'href="#([^"]+)"', shown):
        assert f'id="{link}"' in shown


def test_what_to_do_names_commands_that_there_are() -> None:
    said = " ".join(
        [*(each.mend for each in CONTROLS.values()), *(p.remains for k in PACKS.values() for p in k.provisions)]
    )
    named = re.findall(r"`intramural ([a-z-]+)(?: ([a-z][a-z0-9.-]+))?", said)
    assert len(named) > 8
    for first, second in named:
        words = [each for each in cli[first] if not each.startswith("-")]
        assert not words or not second or second in words, (first, second)


def test_every_check_says_what_it_looks_at() -> None:
    for each in CONTROLS.values():
        assert each.looks.endswith(".") and len(each.looks) > 20, each.id
        assert each.says.endswith(".") and each.mend.endswith("."), each.id
    used: set[Callable[..., Any]] = {each.check for each in CONTROLS.values()}
    assert len(used) == len(CONTROLS), "two controls are shown by one check"
    assert len(CONTROLS) <= 64, "an entry of the log holds so many"
    assert checks.REVIEW_DAYS == 31
