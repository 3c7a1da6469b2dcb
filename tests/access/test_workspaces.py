"""Workspaces, their members and keys; roles of one's own; service accounts."""

import pytest
from tests.access.conftest import PASSWORD

from intramural.access import Charter, Proven
from intramural.access.policy import Action, Thing, decide, grantable, role_permissions
from intramural.core.actor import ROLES
from intramural.core.errors import Conflicting, IntramuralError, Misasked, Unauthenticated
from intramural.core.retention import AI_ACT_DAYS, HIPAA_DAYS


@pytest.fixture
def within(db):
    """Run one changing act in a transaction of its own: `await within(access.groups.create, "Maths")`."""

    async def act(method, *args, **more):
        async with db.writing() as connection:
            return await method(connection, *args, **more)

    return act


async def code_of(asking) -> str:
    with pytest.raises(IntramuralError) as caught:
        await asking
    assert caught.value.hint
    return caught.value.code


async def key_of(access, within, person, **more):
    return await within(access.keys.create, person.id, "a program", ["inference"], **more)


async def test_who_is_a_member(access, within, join):
    radiology = await within(access.workspaces.create, Charter("Radiology", "phi", {"clinic:8b"}, ["care", "teaching"]))
    hospital = await within(access.groups.create, "Hospital")
    ward = await within(access.groups.create, "Ward 3", hospital.id)
    ada, ben, eve = await join("ada"), await join("ben"), await join("eve")
    await within(access.groups.put, ward.id, ben.id)
    await within(access.workspaces.admit, radiology.place.id, ada.id)
    await within(access.workspaces.admit, radiology.place.id, ada.id)
    await within(access.workspaces.admit, radiology.place.id, hospital.id)
    for person, expected in ((ada, True), (ben, True), (eve, False)):
        _, secret = await key_of(access, within, person)
        actor = await access.identify.by_key(secret)
        for called in (radiology.place.id, "Radiology", " rADIOLOGY", "ｒadiology"):
            assert await access.workspaces.place(actor, called) == (radiology.place, expected)
        assert await access.workspaces.place(actor, "Oncology") is None
        assert await access.workspaces.place(actor, "") is None
    assert radiology.place.models == {"clinic:8b"}
    assert radiology.place.purposes == ("care", "teaching")
    found = await access.workspaces.get(radiology.place.id)
    assert (found.people, found.groups) == ((ada.id,), (hospital.id,))
    assert await access.workspaces.list() == [found]
    await within(access.workspaces.dismiss, radiology.place.id, hospital.id)
    _, secret = await key_of(access, within, ben)
    assert await access.workspaces.place(await access.identify.by_key(secret), "radiology") == (radiology.place, False)
    assert await code_of(within(access.workspaces.dismiss, radiology.place.id, ben.id)) == "not_a_member"
    await within(access.people.remove, ada.id)
    assert (await access.workspaces.get(radiology.place.id)).people == ()


async def test_a_key_of_a_workspace_is_in_it_or_opens_nothing(access, within, join):
    radiology = await within(access.workspaces.create, Charter("Radiology", "phi", None, ["care"]))
    ada = await join("ada")
    await within(access.workspaces.admit, radiology.place.id, ada.id)
    key, secret = await key_of(access, within, ada, workspace_id=radiology.place.id)
    for actor in (await access.identify.by_key(secret), await access.identify.again("key", ada.id, key.id)):
        assert (actor.workspace, actor.place, actor.purpose) == (radiology.place.id, radiology.place, "care")
    assert (await access.keys.get(key.id)).workspace_id == radiology.place.id
    changed = Charter("Radiology", "phi", {"clinic:8b"}, ["care", "teaching"])
    await within(access.workspaces.change, radiology.place.id, changed)
    actor = await access.identify.by_key(secret)
    assert (actor.place.models, actor.purpose) == ({"clinic:8b"}, "")
    assert await code_of(within(access.workspaces.remove, radiology.place.id)) == "workspace_not_empty"
    await within(access.workspaces.dismiss, radiology.place.id, ada.id)
    assert await code_of(access.identify.by_key(secret)) == "workspace_closed"
    assert await code_of(access.identify.again("key", ada.id, key.id)) == "workspace_closed"


@pytest.mark.parametrize(
    ("charter", "code"),
    [
        (Charter("", "phi"), "bad_workspace_name"),
        (Charter("a\nb", "phi"), "bad_workspace_name"),
        (Charter("x\u202e", "phi"), "bad_workspace_name"),
        (Charter("workspace_01k", "phi"), "bad_workspace_name"),
        (Charter("x", "secret"), "bad_label"),  # type: ignore[arg-type]  # which there is not
        (Charter("x", "phi", []), "bad_models"),
        (Charter("x", "phi", ["a\n"]), "bad_models"),
        (Charter("x", "phi", None, [""]), "bad_purposes"),
        (Charter("x", "phi", None, ["ärztlich"]), "bad_purposes"),
        (Charter("x", "phi", None, [str(n) for n in range(21)]), "bad_purposes"),
        (Charter("x", "public", retention_days={"film": 3}), "bad_retention"),
        (Charter("x", "public", retention_days={"chat": 0}), "bad_retention"),
        (Charter("x", "public", retention_days={"log": AI_ACT_DAYS - 1}), "retention_below_floor"),
        (Charter("x", "phi", retention_days={"log": HIPAA_DAYS - 1}), "retention_below_floor"),
    ],
)
async def test_what_is_no_workspace(access, within, charter, code):
    with pytest.raises(Misasked) as caught:
        await within(access.workspaces.create, charter)
    assert (caught.value.code, bool(caught.value.hint)) == (code, True)


async def test_retention_down_to_the_floors_and_one_name_one_workspace(access, within):
    days = {"chat": 30, "log": HIPAA_DAYS}
    made = await within(access.workspaces.create, Charter("Radiology", "phi", retention_days=days))
    assert made.retention_days == days
    await within(access.workspaces.create, Charter("Maths", "public", retention_days={"log": AI_ACT_DAYS}))
    assert await code_of(within(access.workspaces.create, Charter("RADIOLOGY", "public"))) == "workspace_name_taken"
    clash = within(access.workspaces.change, made.place.id, Charter("maths", "phi"))
    assert await code_of(clash) == "workspace_name_taken"
    lowered = Charter("Maths", "phi", retention_days={"log": AI_ACT_DAYS})
    assert await code_of(within(access.workspaces.change, made.place.id, lowered)) == "retention_below_floor"
    await within(access.workspaces.remove, made.place.id)
    assert await code_of(access.workspaces.get(made.place.id)) == "workspace_not_found"


async def test_a_role_of_ones_own(access, within, join):
    granted = role_permissions("member") | {"people.read", "people.change"}
    await within(access.roles.put, "helpdesk", granted)
    mia = await join("mia")
    await within(access.people.change, mia.id, role="helpdesk")
    _, secret = await within(access.keys.create, mia.id, "a program", ["admin"])
    actor = await access.identify.by_key(secret)
    assert (actor.role, actor.permissions) == ("helpdesk", granted)
    assert decide(actor, Action.PEOPLE_CHANGE, Thing(grants=role_permissions("member"))).allowed
    await within(access.roles.put, "helpdesk", role_permissions("member"))
    actor = await access.identify.by_key(secret)
    assert decide(actor, Action.PEOPLE_CHANGE).rule == "role_missing", "at the next request"
    proven = await access.people.authenticate("mia", PASSWORD, "10.0.0.1")
    token, _ = await within(access.sessions.open, proven, "")
    session, _ = await access.identify.by_session(token)
    assert session.permissions == role_permissions("member")
    assert session.scopes >= {"inference", "chats"}
    assert await code_of(within(access.roles.remove, "helpdesk")) == "role_in_use"
    await within(access.people.change, mia.id, role="member")
    await within(access.roles.remove, "helpdesk")
    assert await code_of(within(access.roles.remove, "helpdesk")) == "role_not_found"
    assert await code_of(within(access.people.change, mia.id, role="helpdesk")) == "bad_role"


@pytest.mark.parametrize("name", ["", "member", "Helpdesk", "a  b", "-", "x" * 41, "a\n", "help\u202edesk"])
async def test_what_cannot_be_a_roles_name(access, within, name):
    assert await code_of(within(access.roles.put, name, ["me.read"])) == "bad_role_name"


@pytest.mark.parametrize(
    "granted", [[], ["roles.change"], ["chats.read.all"], ["me.read", "nonsense"], ["model.use.all"]]
)
async def test_what_no_role_can_have(access, within, granted):
    assert await code_of(within(access.roles.put, "helpdesk", granted)) == "bad_permissions"


def test_what_roles_can_have_is_what_roles_have():
    everything = {permission for role in ROLES for permission in role_permissions(role)} - {"roles.change"}
    assert everything <= grantable() | {"keys.create"}
    assert not [each for each in grantable() if each.startswith("chats.") and each.endswith((".all", ".managed"))]


async def test_a_service_account_has_keys_and_nothing_else(access, within, join):
    await join("root", "administrator")
    robot = await within(access.people.create, "robot", None, "service")
    assert (robot.kind, (await access.people.named("robot")).kind) == ("service", "service")
    for password in ("", PASSWORD):
        with pytest.raises(Unauthenticated):
            await access.people.authenticate("robot", password, "10.0.0.1")
    hashed = await access.people.hash_new("robot", PASSWORD)
    assert await code_of(within(access.people.set_password, robot.id, hashed)) == "service_has_no_password"
    assert await code_of(within(access.sessions.open, Proven(robot, None, method="oidc"), "")) == "sign_in_failed"
    _, secret = await key_of(access, within, robot)
    actor = await access.identify.by_key(secret)
    assert (actor.kind, actor.role) == ("key", "service")
    assert await code_of(within(access.keys.create, robot.id, "x", ["chats"])) == "bad_scopes"
    for role in ("administrator", "member", "auditor", "manager"):
        assert await code_of(within(access.people.change, robot.id, role=role)) == "bad_role"
    ada = await join("ada")
    assert await code_of(within(access.people.change, ada.id, role="service")) == "bad_role"
    await within(access.people.change, robot.id, disabled=True)
    with pytest.raises(Unauthenticated):
        await access.identify.by_key(secret)


async def test_the_first_is_no_service_account(access, within):
    with pytest.raises(Conflicting):
        await within(access.people.create, "robot", None, "service")
