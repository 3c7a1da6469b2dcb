"""Lists of people: what is read, what is refused with its line, and what would be changed. Pure."""

import io
import itertools
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.access.rosters import Choices, Reading, Standing, planned, read
from intramural.access.rosters.plan import Known, KnownGroup, Link
from intramural.core.errors import Flawed, Misasked

HEADER = "id,username,role,active,groups,manages,provider,subject\n"
AGED = "id,username,age,birth_date\n"
TODAY = Reading(today="2026-11-22")
ROLES = ("administrator", "auditor", "manager", "member", "help desk")
NOBODY = Standing({}, {}, {}, {}, {})


def plain(*lines: str, reading: Reading = TODAY):
    return read("people.csv", (HEADER + "\n".join(lines)).encode(), reading)


def zipped(**files: str) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"export/{name}.csv", text)
    return sink.getvalue()


ORGS = "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId\n" + (
    "d,,,Springfield,district,,\ns,,,Elementary,school,,d\n"
)
USERS_1_1 = (
    "sourcedId,status,dateLastModified,enabledUser,orgSourcedIds,role,username,userIds,givenName,familyName,middleName,"
    "identifier,email,sms,phone,agentSourcedIds,grades,password\n"
    'edna,,,true,s,teacher,edna,,Edna,Krabappel,,,,,,,,\nbart,,,true,"s,d",student,bart,,Bart,Simpson,,,,,,homer,04,\n'
    "homer,,,true,s,parent,homer,,Homer,Simpson,,,,,,,,\nmilhouse,,,false,s,student,milhouse,,,,,,,,,,,\n"
    "nelson,,,true,s,student,nelson,,,,,,,,,,,\n"
)
CLASSES = (
    "sourcedId,status,dateLastModified,title,grades,courseSourcedId,classCode,classType,location,schoolSourcedId,"
    "termSourcedIds,subjects,subjectCodes,periods\n"
    "4k,,,4th grade,04,c1,,homeroom,,s,t1,,,\n"
)
ENROLMENTS = (
    "sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role,primary,beginDate,endDate\n"
    "1,,,4k,s,edna,teacher,true,,\n2,,,4k,s,bart,student,,2026-08-24,2027-06-18\n3,,,4k,s,homer,parent,,,\n"
    "4,,,4k,s,nelson,student,,2025-08-24,2026-06-18\n5,tobedeleted,,4k,s,milhouse,student,,,\n"
)


def refused(act) -> list[tuple[int, str]]:
    with pytest.raises(Flawed) as caught:
        act()
    assert caught.value.code == "roster_refused" and caught.value.hint
    assert all(each["message"] and each["file"] for each in caught.value.problems)
    return [(each["line"], each["code"]) for each in caught.value.problems]


# the plain list -------------------------------------------------------------------------------------------------------


def test_a_plain_list_with_groups_in_groups():
    roster = plain(
        "1,mia,,,Springfield|Springfield/7b,,,", "2,t.jones,manager,yes,,Springfield/7b,school,sub-2", "3,bo,,no,,,,"
    )
    assert [(each.username, each.role, each.active) for each in roster.people.values()] == [
        ("mia", "member", True),
        ("t.jones", "manager", True),
        ("bo", "member", False),
    ]
    assert roster.people["2"].identity == ("school", "sub-2") and roster.people["2"].line == 3
    within = {group.external_id: group.within for group in roster.groups.values()}
    assert within == {"path/Springfield": None, "path/Springfield/7b": "path/Springfield"}
    assert roster.members == {
        ("1", "path/Springfield"): False,
        ("1", "path/Springfield/7b"): False,
        ("2", "path/Springfield/7b"): True,
    }


def test_what_spreadsheets_make_of_a_file_is_read():
    with_mark = "﻿id;username;groups\r\n1;mia;A|B\r\n\r\n2;bo;\r\n".encode()
    roster = read("people.csv", with_mark, TODAY)
    assert [each.line for each in roster.people.values()] == [2, 4] and set(roster.groups) == {"path/A", "path/B"}


BAD = {
    "a formula in a group": ("1,mia,,,=HYPERLINK(1),,,", 2, "formula"),
    "a formula in an identifier": ("@1,mia,,,,,,", 2, "formula"),
    "a formula in a name": ("1,+mia,,,,,,", 2, "formula"),
    "a character that turns the writing": ("1,mia,,,Cl‮ass,,,", 2, "bad_character"),
    "a bell": ("1,mia,,,Cl\x07ass,,,", 2, "bad_character"),
    "an end of line in quotes": ('1,mia,,,"A\nB",,,', 3, "bad_character"),
    "a quote that is never closed": ('1,mia,,,"A', 3, "bad_csv"),
    "a text after a quote": ('1,"mia"x,,,,,,', 2, "bad_csv"),
    "a megabyte": (f"1,mia,,,{'x' * 2**20},,,", 2, "bad_csv"),
    "five thousand characters": (f"1,mia,,,{'x' * 5000},,,", 2, "field_too_long"),
    "too few values": ("1,mia", 2, "wrong_length"),
    "too many values": ("1,mia,,,,,,,", 2, "wrong_length"),
    "no identifier": (",mia,,,,,,", 2, "bad_id"),
    "no name": ("1,,,,,,,", 2, "bad_username"),
    "a name with blanks": ("1,mia t,,,,,,", 2, "bad_username"),
    "an identifier twice": ("1,mia,,,,,,\n1,bo,,,,,,", 3, "duplicate"),
    "a name twice": ("1,mia,,,,,,\n2,MIA,,,,,,", 3, "duplicate_username"),
    "neither true nor false": ("1,mia,,perhaps,,,,", 2, "bad_value"),
    "an administrator by a list": ("1,mia,administrator,,,,,", 2, "role_not_named"),
    "half an identity": ("1,mia,,,,,school,", 2, "bad_value"),
    "a path with nothing in it": ("1,mia,,,A//B,,,", 2, "bad_group"),
    "a path without end": (f"1,mia,,,{'/'.join('x' * 17)},,,", 2, "bad_group"),
    "a NUL": ("1,mia\0,,,,,,", 2, "wrong_encoding"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_line_is_named_with_its_reason_and_nothing_is_taken(what):
    line, number, code = BAD[what]
    assert (number, code) in refused(lambda: plain(line, "9,good,,,,,,"))


def test_other_encodings_and_headers_are_refused():
    for data, code in (
        (HEADER.encode("utf-16"), "wrong_encoding"),
        ((HEADER + "1,mia,,,Café,,,").encode("latin-1"), "wrong_encoding"),
        (b"", "no_header"),
        (b"id,id,username\n1,1,mia", "bad_header"),
        (b"id,name\n1,mia", "missing_column"),
        (b"id,username,grup\n1,mia,A", "unknown_column"),
    ):
        assert refused(lambda data=data: read("people.csv", data, TODAY))[0][1] == code


@pytest.mark.parametrize(
    ("values", "age"),
    [
        (",", None),
        ("13-15,", "13-15"),
        ("unknown,", "unknown"),
        (",2013-11-23", "under-13"),  # 13 tomorrow
        (",2013-11-22", "13-15"),
        (",2010-11-22", "16-17"),
        (",2008-11-23", "16-17"),
        (",2008-11-22", "adult"),
        (",1876-11-22", "adult"),
        (",2026-11-22", "under-13"),
    ],
)
def test_an_age_is_a_band_or_made_of_a_day_of_birth(values, age):
    assert read("people.csv", f"{AGED}1,mia,{values}\n".encode(), TODAY).people["1"].age == age


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ("14,", "bad_value"),
        ("Adult,", "bad_value"),
        ("13-15,2013-01-01", "bad_value"),
        (",2026-11-23", "bad_date"),  # to come
        (",1875-11-21", "bad_date"),
        (",2013-02-29", "bad_date"),
        (",31.05.2013", "bad_date"),
        (",20130531", "bad_date"),
        (",２０１３-05-31", "bad_date"),
        (",2013-05-31T00:00:00Z", "bad_date"),
        (",=2013-05-31", "formula"),
        (",2013-05-31\u202e", "bad_character"),
    ],
)
def test_what_is_no_age_is_a_mistake_that_does_not_say_the_day(values, code):
    with pytest.raises(Flawed) as caught:
        read("people.csv", f"{AGED}1,mia,{values}\n9,good,,\n".encode(), TODAY)
    [problem] = caught.value.problems
    assert (problem["line"], problem["code"]) == (2, code)
    assert "2013" not in str(problem["message"]) and "1875" not in str(problem["message"])


def test_an_administrator_is_one_if_that_is_named():
    roster = plain("1,mia,administrator,,,,,", reading=Reading({"administrator": "administrator"}))
    assert roster.people["1"].role == "administrator"


def test_every_mistake_is_told_up_to_a_hundred():
    with pytest.raises(Flawed) as caught:
        plain(*(f"{n},,,,,,," for n in range(500)))
    assert len(caught.value.problems) == 100 and "500 mistakes" in caught.value.message


@given(st.binary(max_size=300))
def test_whatever_is_sent_is_read_or_refused(data):
    for start in (b"", HEADER.encode(), b"PK\x03\x04"):
        try:
            read("people.csv", start + data, TODAY)
        except Misasked as error:
            assert error.hint


# OneRoster ------------------------------------------------------------------------------------------------------------


def test_a_bundle_of_oneroster_1_1():
    roster = read("b.zip", zipped(orgs=ORGS, users=USERS_1_1, classes=CLASSES, enrollments=ENROLMENTS), TODAY)
    assert {each.external_id: each.role for each in roster.people.values()} == {
        "edna": "manager",
        "bart": "member",
        "milhouse": "member",
        "nelson": "member",
    }
    assert not roster.people["milhouse"].active and roster.left_out == {"parent": 1}
    assert {each.external_id: each.within for each in roster.groups.values()} == {
        "org/d": None,
        "org/s": "org/d",
        "class/4k": "org/s",
    }
    assert roster.members == {
        ("edna", "class/4k"): True,
        ("bart", "class/4k"): False,
        ("bart", "org/d"): False,
        ("milhouse", "org/s"): False,
        ("nelson", "org/s"): False,  # the year of that enrolment is over
    }


def test_a_bundle_of_oneroster_1_2_has_its_roles_in_a_file_of_their_own():
    users = (
        "sourcedId,status,dateLastModified,enabledUser,username,userIds,givenName,familyName,primaryOrgSourcedId\n"
        "edna,,,true,edna,,,,s\nbart,,,true,bart,,,,\nbob,,,true,bob,,,,\n"
    )
    roles = (
        "sourcedId,status,dateLastModified,userSourcedId,roleType,role,beginDate,endDate,orgSourcedId,"
        "userProfileSourcedId\n"
        "1,,,edna,secondary,aide,,,d,\n2,,,edna,primary,teacher,,,s,\n3,,,bart,primary,student,,,s,\n"
        "4,,,bob,primary,systemAdministrator,,,d,\n"
    )
    manifest = "propertyName,value\nmanifest.version,1.0\noneroster.version,1.2\nfile.users,bulk\nfile.courses,delta\n"
    data = zipped(orgs=ORGS, users=users, roles=roles, manifest=manifest)
    assert {key: each.role for key, each in read("b.zip", data, TODAY).people.items()} == {
        "edna": "manager",
        "bart": "member",
        "bob": "member",  # whatever somebody administers there
    }
    named = Reading({"systemAdministrator": "auditor", "aide": "member"}, "2026-11-22")
    assert read("b.zip", data, named).people["bob"].role == "auditor"
    assert ("edna", "org/d") in read("b.zip", data, TODAY).members


DEMOGRAPHICS = (
    "sourcedId,status,dateLastModified,birthDate,sex,americanIndianOrAlaskaNative,countryOfBirthCode\n"
    "bart,,,2016-02-23,male,false,US\nnelson,tobedeleted,,2010-01-01,,,\nhomer,,,1980-05-12,male,,\nmilhouse,,,,,,\n"
)


def test_of_the_demographics_only_the_band_is_taken_in():
    whole = {"orgs": ORGS, "users": USERS_1_1, "demographics": DEMOGRAPHICS.replace("male", "=male")}
    roster = read("b.zip", zipped(**whole), TODAY)
    assert {key: each.age for key, each in roster.people.items()} == {
        "edna": None,
        "bart": "under-13",
        "milhouse": None,
        "nelson": None,
    }
    assert "2016" not in repr(roster) and "1980" not in repr(roster)


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"demographics": DEMOGRAPHICS + "bart,,,2015-01-01,,,\n"}, "duplicate"),
        ({"demographics": DEMOGRAPHICS.replace("2016-02-23", "23.2.2016")}, "bad_date"),
        ({"demographics": "sourcedId,sex\nbart,male\n"}, "missing_column"),
        ({"manifest": "propertyName,value\nfile.demographics,delta\n"}, "delta"),
        ({"users": USERS_1_1}, "missing_file"),
        ({"manifest": "propertyName,value\noneroster.version,2.0\n"}, "wrong_version"),
        ({"manifest": "propertyName,value\nfile.users,delta\n"}, "delta"),
        ({"orgs": ORGS + "x,,,X,school,,nowhere\n"}, "unknown_org"),
        ({"orgs": ORGS.replace("district,,", "district,,s")}, "org_in_itself"),
        ({"orgs": ORGS + "s,,,Again,school,,\n"}, "duplicate"),
        ({"classes": CLASSES.replace(",s,t1", ",x,t1")}, "unknown_org"),
        ({"enrollments": ENROLMENTS + "9,,,5x,s,bart,student,,,\n"}, "unknown_class"),
        ({"enrollments": ENROLMENTS + "9,,,4k,s,ghost,student,,,\n"}, "unknown_user"),
        ({"enrollments": ENROLMENTS + "9,,,4k,s,bart,student,,soon,\n"}, "bad_date"),
        ({"users": USERS_1_1 + "bart,,,true,s,student,bart2,,,,,,,,,,,\n"}, "duplicate"),
        ({"users": USERS_1_1.replace(",nelson,", ",bart,")}, "duplicate_username"),
        ({"users": USERS_1_1.replace("teacher", "=teacher")}, "formula"),
    ],
)
def test_a_bundle_that_does_not_fit_together_is_refused(files, code):
    whole = {"orgs": ORGS, "users": USERS_1_1, "classes": CLASSES, "enrollments": ENROLMENTS}
    given_files = files if code == "missing_file" else whole | files
    assert code in {each for _, each in refused(lambda: read("b.zip", zipped(**given_files), TODAY))}


def test_a_zip_file_that_is_none_and_one_that_grows():
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("users.csv", b"x" * (257 << 20))
    for data in (b"PK\x03\x04 and no more", bomb.getvalue()):
        with pytest.raises(Misasked) as caught:
            read("b.zip", data, TODAY)
        assert caught.value.code == "bad_bundle"


# the plan -------------------------------------------------------------------------------------------------------------


def steps(roster, here=NOBODY, **choices):
    numbers = itertools.count(1)
    chosen = Choices("sis", "people.csv", roles=ROLES, issuers={"school": "https://id"}, **choices)
    plan = planned(roster, here, chosen, lambda kind: f"{kind}_{next(numbers)}")
    return plan, [(step.what, step.name) for step in plan.steps]


def after(roster, **changed) -> Standing:
    """What is here once `roster` was taken in."""
    plan, _ = steps(roster)
    people, links, groups, members = {}, {}, {}, {}
    for step in plan.steps:
        given = step.given
        if step.what == "person.created":
            person_id = step.target.removeprefix("person:")
            people[person_id] = Known(person_id, given["username"], given["role"], False, "person")
            links[given["external_id"]] = Link(person_id, given["role"], True)
        elif step.what == "group.created":
            groups[given["external_id"]] = KnownGroup(step.target[6:], given["name"], given["parent_id"])
        elif step.what == "member.joined":
            members[given["person_id"], given["group_id"]] = (given["manager"], "sis")
    found = {"people": people, "links": links, "groups": groups, "members": members, "identities": {}}
    return Standing(**(found | changed))


FIRST = ("1,mia,,,School/7b,,,", "2,tea,manager,,,School/7b,,", "3,bo,,,School/8a,,,")


def test_a_first_list_makes_groups_before_people_before_members():
    plan, found = steps(plain(*FIRST))
    assert found == [
        ("group.created", "School"),
        ("group.created", "7b"),
        ("group.created", "8a"),
        ("person.created", "mia"),
        ("person.created", "tea"),
        ("person.created", "bo"),
        ("member.joined", "mia in 7b"),
        ("member.joined", "tea in 7b"),
        ("member.joined", "bo in 8a"),
    ]
    assert plan.roles == {"member", "manager"} and plan.counts["person.created"] == 3


def test_the_same_list_again_changes_nothing():
    assert steps(plain(*FIRST), after(plain(*FIRST)))[1] == []


def test_what_the_list_says_otherwise_is_changed_and_what_it_does_not_say_stays():
    here = after(plain(*FIRST))
    second = plain("1,mia.t,manager,,School/8a,,,", "2,tea,manager,false,,School/7b,,", "3,bo,,,School/8a,,,")
    assert steps(second, here)[1] == [
        ("person.changed", "mia.t"),
        ("person.disabled", "tea"),
        ("member.joined", "mia.t in 8a"),
        ("member.left", "mia.t"),
    ]
    moved = steps(plain("1,mia,,,,,,", "2,tea,manager,,,,,", "3,bo,,,School/8a,,,"), here)[0]
    assert [step.what for step in moved.steps] == ["member.left", "member.left"] and moved.unlisted_groups == 1


def test_what_people_here_changed_stays_until_the_list_says_something_else():
    here = after(plain(*FIRST))
    mia = here.links["1"].person_id
    here.people[mia] = Known(mia, "mia", "auditor", True, "person")  # given another role here, and shut out here
    here.members.clear()
    school = here.groups["path/School/7b"].id
    here.members[mia, school] = (True, None)  # put there by hand, as its manager
    assert "member.joined" in dict(steps(plain(*FIRST), here)[1]) and "mia" not in dict(steps(plain(*FIRST), here)[1])
    said = steps(plain("1,mia,manager,,School/7b,,,", *FIRST[1:]), here)[0]
    [step] = [each for each in said.steps if each.name == "mia"]
    assert (step.what, step.facts) == ("person.changed", {"role": None, "disabled": None})
    out = steps(plain("1,mia,,,,,,", *FIRST[1:]), here)[0]
    assert not [each for each in out.steps if each.what == "member.left"], "they were put there by hand"


def aged(*lines: str):
    return read("people.csv", (AGED + "\n".join(lines)).encode(), TODAY)


AGES = {
    "a new person": (None, None, "13-15,", ("13-15", "unknown")),
    "a new person of whom nothing is known": (None, None, "unknown,", None),
    "nothing is said": ("adult", "13-15", ",", None),
    "the same as the last time": ("13-15", "13-15", "13-15,", None),
    "a birthday": ("13-15", "13-15", ",2010-11-22", ("16-17", "13-15")),
    "somebody here knew better, and the list says the same": ("adult", "13-15", "13-15,", None),
    "somebody here knew better, and the list says another": ("adult", "13-15", "16-17,", ("16-17", "adult")),
    "written down here before the list said anything": ("adult", None, "13-15,", ("13-15", "adult")),
    "the same here before the list said anything is remembered": ("13-15", None, "13-15,", ("13-15", "13-15")),
    "it is not known any more": ("13-15", "13-15", "unknown,", ("unknown", "13-15")),
}


@pytest.mark.parametrize("what", AGES)
def test_an_age_is_set_where_the_list_says_another_than_the_last_time(what):
    here_now, said, values, expected = AGES[what]
    here = NOBODY
    if what[:5] != "a new":
        people = {"p": Known("p", "mia", "member", False, "person")}
        ages = {} if here_now is None else {"p": here_now}
        here = Standing(people, {"1": Link("p", "member", True, said)}, {}, {}, {}, ages)
    plan, _ = steps(aged(f"1,mia,{values}"), here)
    found = [(step.facts["age"], step.facts["before"]) for step in plan.steps if step.what == "age.set"]
    assert found == ([] if expected is None else [expected])


def test_an_age_comes_after_its_person():
    assert [what for what, _ in steps(aged("1,mia,13-15,", "2,bo,,2001-01-01"))[1]] == [
        "person.created",
        "person.created",
        "age.set",
        "age.set",
    ]
    adopted = Standing({"p": Known("p", "mia", "member", False, "person")}, {}, {}, {}, {}, {"p": "adult"})
    people = {"p": Known("p", "mia", "administrator", False, "person")}
    promoted = Standing(people, {"1": Link("p", "member", True)}, {}, {}, {})
    assert "administrator" in steps(aged("1,mia,13-15,"), promoted)[0].roles, "nobody gets at who may more"
    [_, step] = steps(aged("1,mia,13-15,"), adopted, adopt=True)[0].steps
    assert (step.what, step.target, step.facts["before"]) == ("age.set", "person:p", "adult")


def test_who_is_missing_is_shut_out_if_that_is_asked_for():
    here = after(plain(*FIRST))
    plan, found = steps(plain(*FIRST[:2]), here)
    assert ([each.username for each in plan.missing], found) == (["bo"], [])
    assert steps(plain(*FIRST[:2]), here, disable_missing=True)[1] == [("person.disabled", "bo")]


def test_a_name_that_somebody_has_is_a_mistake_unless_they_are_the_same():
    here = Standing({"p": Known("p", "Mia", "auditor", False, "person")}, {}, {}, {}, {})
    assert refused(lambda: steps(plain(*FIRST), here)) == [(2, "username_taken")]
    plan, found = steps(plain(*FIRST), here, adopt=True)
    assert ("person.adopted", "mia") in found and "auditor" in plan.roles
    robot = Standing({"p": Known("p", "mia", "service", False, "service")}, {}, {}, {}, {})
    assert refused(lambda: steps(plain(*FIRST), robot, adopt=True)) == [(2, "username_taken")]


def test_the_last_administrator_stays_one():
    here = after(plain(*FIRST))
    ada = here.links["1"].person_id
    here.people[ada] = Known(ada, "mia", "administrator", False, "person")
    gone = plain("1,mia,,false,,,,", *FIRST[1:])
    assert refused(lambda: steps(gone, here)) == [(2, "last_administrator")]
    here.people["p"] = Known("p", "root", "administrator", False, "person")
    assert ("person.disabled", "mia") in steps(gone, here)[1]


def test_identities_are_tied_once_and_never_to_two():
    listed = plain("1,mia,,,,,school,sub-1")
    assert ("identity.tied", "mia") in steps(listed)[1]
    here = after(listed)
    mia = here.links["1"].person_id
    here.identities["https://id", "sub-1"] = mia
    assert steps(listed, here)[1] == []
    here.identities["https://id", "sub-1"] = "somebody else"
    assert refused(lambda: steps(listed, here)) == [(2, "identity_taken")]
    assert refused(lambda: steps(plain("1,mia,,,,,nowhere,x"))) == [(2, "unknown_provider")]
    assert refused(lambda: steps(plain("1,mia,poet,,,,,"))) == [(2, "unknown_role")]
