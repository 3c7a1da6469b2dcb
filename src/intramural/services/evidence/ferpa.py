"""FERPA, 34 CFR part 99. Data."""

from intramural.services.evidence.packs import Pack, Provision


def _rule(place: str, title: str, asks: str, *controls: str, remains: str = "") -> Provision:
    return Provision(f"34 CFR {place}", title, asks, controls, remains)


FERPA = Pack(
    "ferpa",
    "FERPA",
    "34 CFR part 99: what is kept here and is directly related to a student, as far as it is an education record of "
    "the school's. Which of it is one, the school says.",
    (
        _rule("99.3", "Definitions: personally identifiable information",
              "Names, numbers, and whatever else leads to a student.", "guard-education", "guard-names",
              remains="What leads to a student by what somebody already knows; redaction finds part of the rest."),
        _rule("99.5", "Rights of students",
              "At 18, or in postsecondary education, the rights of parents pass to the student.", "ages-young",
              remains="Telling this service who has become of age."),
        _rule("99.7", "Annual notification",
              "Tell parents and eligible students of their rights every year.", "people-informed",
              remains="The notification itself, and its words."),
        _rule("99.10", "Right to inspect and review",
              "Let a parent or eligible student inspect and review the records, within 45 days.", "own-access",
              remains="Handing a parent what is their child's; records outside this service."),
        _rule("99.20", "Amendment", "Hear a request to amend a record that is inaccurate or misleading.",
              remains="The decision, and the hearing."),
        _rule("99.30(a)", "Prior consent to disclose",
              "Disclose to others only with a signed and dated written consent, unless an exception holds.",
              "answered-inside", "way-out-decided", "consent-asked",
              remains="The consent to a disclosure. What is recorded here is a guardian's consent to using models."),
        _rule("99.31(a)(1)(i)", "School officials with legitimate educational interests",
              "Without consent only to officials whom the school has determined to have such interests.",
              "others-unread", "purposes-named", "emergency-by-two",
              remains="Determining who has such interests."),
        _rule("99.31(a)(1)(ii)", "Reasonable methods to limit access",
              "Use physical or technical controls, or an administrative policy that works, so that officials reach "
              "only records in which they have legitimate educational interests.",
              "others-unread", "words-sealed", "shut-out"),
        _rule("99.31(c)", "Identifying and authenticating who is shown records",
              "Use reasonable methods to identify and authenticate them.",
              "names-unique", "second-factor", "administrators-by-passkey", "guesses-limited"),
        _rule("99.32(a)(1)", "Record of requests and disclosures",
              "Keep a record of each request for access to a student's records, and of each disclosure.",
              "disclosures-recorded", "log-verifies", "log-anchored",
              remains="Requests that reach the school on paper, and disclosures outside this service."),
        _rule("99.32(a)(2)", "How long the record is kept",
              "Keep it with the records as long as these are maintained.", "log-kept-education"),
        _rule("99.32(a)(3)", "Parties and their interests",
              "The record names who asked or received, and their legitimate interests.", "disclosures-recorded",
              remains="Whether the reason that somebody gave is a legitimate interest."),
        _rule("99.32(c)", "Who may inspect the record",
              "Let the parent or eligible student, and officials who answer for it, inspect the record.", "own-access",
              "auditor-named", remains="Handing it to a parent: `intramural report ferpa-99.32` makes it."),
        _rule("99.33(a)", "Redisclosure", "See that who receives a record does not pass it on.",
              "answered-inside", "way-out-decided", remains="Agreements with whoever receives any of it."),
    ),
)  # fmt: skip
