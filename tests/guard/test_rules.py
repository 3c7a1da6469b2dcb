"""Each class by what is one (in «», all of it and called so) and by what only looks like one."""

import pytest

from intramural.guard import STRUCTURED, Kind, found

POSITIVE = {
    Kind.NAME: (
        "seen by Dr. «Ana-Lucía Peña»",
        "Patient: «Van Houten, Milla»",
        "Dear Mrs. «O'Neil», thank you",
        "«Priya Raman», M.D., dictated",
        "her brother «Teo» drove",
    ),
    Kind.PLACE: ("a clinic in «Eau Claire», WI", "moved to «Tulsa», Oklahoma", "City: «Eau Claire»\nZIP"),
    Kind.STREET: (
        "lives at «1420 North Oak Street Apt 5B», upstairs",
        "at «12 5th Ave»",
        "«P.O. Box 9123»",
        "to «8063 South Cherry Hill Place #68»",
        "«221 Baker St», London",
        "in der «Hauptstraße 12a» wohnhaft",
        "au «12 rue de Rivoli»",
        "«77 main street» by the mill",
        "on «2210 Highway 61»",
        "send it to «Trg revolucije 13», Borovnica,  1353 today",
        "User: «ul. Mickiewicza Adama 26», Jastrzębie-Zdrój,  44-330",
        "«88 Rue Wanes Chbil», El Alouj, 51 4040",
        "The office is at «Haukeliveien 111».",
    ),
    Kind.ZIP: (
        "Rúa Olmos 32, Poveda de las Cintas, SA «37406»? I am",
        "Semperweg 139, Birrwil,  «5708»",
        "Sahantie 72\nApt. 2\nHuittinen\nFinland «32700»",
        "moved to Almada «2810-402» in",
        "from Houston «77006» to",
        "ZIP: «154»",
        "Boston, MA «02139»",
        "zip code: «02139-4307»",
        "postal code is «K1A 0B1»",
        "London «SW1A 1AA»",
        "Portland, Oregon «97201»",
        "ZIP «83343»",
        "Quincy, MA «2169»",
    ),
    Kind.DATE: (
        "born «03/14/1962» in",
        "on «3/4»",
        "«2024-02-29T10:15:00Z»",
        "«March 3rd, 2024»",
        "the visit of «14 Feb 2023»",
        "«January 20th»: the plate",
        "since «the 14th of March»",
        "«14.03.2024»",
        "dob=«19620314»",
        "in «March 2024» she",
        "«Feb 3-5, 2024»",
        "«twenty-first of June 2020»",
        "«12/2023»",
    ),
    Kind.AGE: (
        "a «92-year-old» man",
        "she is «101 years old»",
        "«94 y/o» F",
        "her grandfather turned «97» in May",
        "Age: «90»",
        "in her «ninety-three years old» voice",
        "a «nonagenarian» from",
        "her «100th birthday»",
    ),
    Kind.PHONE: (
        "call «(415) 555-2671»",
        "«415.555.2671 ext. 12»",
        "«+44 20 7946 0958»",
        "phone 1: «555-2671»",
        "Mobile: 676 5178\nDesk: «676 5178»",
        "Phone:\n«21 266 520 2535»",
        "on «0688 943 88 04» today",
        "on «01.72.64.30.83» today",
        "«06-55879677» is hers",
        "«695 597 621»-Office",
        "Tel. «030 1234567»",
        "cell «4155552671»",
        "«1-800-555-0199»",
        "pager «40217»",
    ),
    Kind.FAX: ("fax «(415) 555-2672»", "Fax no.: «+1 415 555 2672»", "faxed to «415-555-2672»"),
    Kind.EMAIL: ("to «ann.o+x@mail.example.co.uk».", "«müller@example.de»", "«ann [at] example [dot] org»"),
    Kind.SSN: (
        "«123-45-6789»",
        "SSN «123456789»",
        "social security number ending in «6789»",
        "ssn: «123 45 6789»",
        "«xxx-xx-6789»",
    ),
    Kind.MRN: (
        "MRN: «00482913»",
        "MRN«00482913» of",
        "medical record no. «A-12345»",
        "«4471923» is her MRN",
        "chart # «7733-1»",
        "| MRN | «00482913» |",
        '"mrn": "«00482913»"',
        "patient_id=«PX99812»",
    ),
    Kind.MEMBER: (
        "member ID «XYZ-123456789»",
        "policy number is «W99 812 345»",
        "Medicare «1EG4-TE5-MK73»",
        "«1EG4TE5MK73»",
        "group no. «00417A2»",
    ),
    Kind.ACCOUNT: (
        "account number «0098-7654-3210»",
        "acct. «1234567»",
        "IBAN «DE89 3704 0044 0532 0130 00»",
        "to «GB82WEST12345698765432»",
        "routing number «021000021»",
    ),
    Kind.CARD: ("«4111 1111 1111 1111»", "«5500-0000-0000-0004»", "Visa ending in «4242»", "Amex «378282246310005»"),
    Kind.LICENCE: (
        "driver's license «D123-4567-8901»",
        "licence no. «99 812 345»",
        "passport number «X1234567»",
        "DEA «AB1234563»",
        "NPI: «1234567893»",
    ),
    Kind.VEHICLE: (
        "plate «7ABC 123»",
        "license plate number «AB-123»",
        "VIN «1HGCM82633A004352»",
        "«1M8GDM9AXKP042788»",
        "the plate of the van was «MN38 EMG»",
    ),
    Kind.DEVICE: (
        "serial no. «SN-4471-AB92»",
        "S/N «88123X»",
        "MAC «00:1A:2b:3C:4d:5E»",
        "IMEI «490154203237518»",
        "UDI «(01)00643169001763(21)A1»",
        "device ID «IPG-7731»",
    ),
    Kind.URL: (
        "«https://portal.example.org/p?id=4».",
        "see «www.ann-bakes.example.com/photos»",
        "at «ann.example.org/about», or",
    ),
    Kind.IP: ("from «10.2.33.4»:", "«2001:db8::8a2e:370:7334»", "«fe80::1ff:fe23:4567:890a%eth0»", "«192.168.4.0/24»"),
    Kind.STUDENT: ("student ID: «S-20817»", "pupil number «204417»", "student_id=«20817»", "UPN «A123456789012»"),
    Kind.CODE: (
        "case number «24-00817»",
        "Rx # «7712345»",
        "accession no. «S24-11873»",
        "Encounter «88120441»",
        "badge «40117»",
    ),
}

NEAR = {
    Kind.NAME: ("Dear Sir or Madam", "Patient: Denies pain", "Dr. and nurse", "From: 12 to 14"),
    Kind.PLACE: ("yes, OK then", "A, B, or C"),
    Kind.STREET: (
        "a 2 hour drive",
        "the desk is at Room 12.",
        "Take Lisinopril 10, Metformin, 500 mg",
        "In Grade 5, Boston, 30 pupils",
        "a 5 minute walk, 3 way street",
        "30 chairs in court",
        "12 pencils and a road",
        "grade 7 place value",
        "In 2019 the hospital",
    ),
    Kind.ZIP: (
        "The study of Nature 12, London, 1997",
        "Spain 1936 was",
        "back in Section 15571, 3 of",
        "30000 ms",
        "12345 people",
        "part 90210",
        "room 02139",
    ),
    Kind.DATE: (
        "1/2 tablet",
        "in 2019 she",
        "on Monday at 7:45",
        "she may march",
        "version 10.2.3",
        "120/80",
        "3-5 days",
        "May I go?",
        "score 21-17",
        "7/8 of them",
    ),
    Kind.AGE: (
        "89 years old",
        "she is 45",
        "95% of",
        "a 95-year-old building",
        "SpO2 is 97% on room air",
        "90 days",
        "1990 years",
        "aged 9",
        "pulse was 92 beats",
    ),
    Kind.PHONE: (
        "120-150 mg",
        "01-02-2024 and 0 to 12",
        "045 of 1200 in 2019",
        "1234567 people",
        "ISO 27001",
        "2024-2025",
        "pages 110-118",
        "65536 bytes",
        "call 3 times",
    ),
    Kind.FAX: ("the fax machine is out", "a fax of 12 pages"),
    Kind.EMAIL: ("meet @ 5 pm", "a@b", "@handle said", "look at this dot"),
    Kind.SSN: ("123-456-7890", "000-12-3456", "12-345-6789", "666-12-3456", "123-45-67890"),
    Kind.MRN: ("the MRN is missing", "medical records of 2019", "chart 12", "unit 4"),
    Kind.MEMBER: ("a member of 12 clubs", "group 4", "policy of 2019", "plan for 7 days"),
    Kind.ACCOUNT: ("on account of 12 days", "account for 30 of", "DE89 3704 0044 0532 0130 01 is not one"),
    Kind.CARD: ("4111 1111 1111 1112", "1111 1111 1111 1111", "card 12 of 52"),
    Kind.LICENCE: ("licensed in 2019", "AB1234564", "certificate of 2019", "a licence for 3 years"),
    Kind.VEHICLE: ("plate of food 12", "1HGCM82633A004353", "tag 4", "vehicle in 2019"),
    Kind.DEVICE: ("a serial killer of 1999", "00:1A:2b:3C:4d", "device for 12 days", "10:15:30"),
    Kind.URL: ("e.g. this", "file.py and main.c", "Node.js", "3.5 per day", "end.Next"),
    Kind.IP: ("version 10.2.3.4", "section 1.2.3.4", "1.2.3.256", "1.2.3.4.5", "12:30:45", "std::vector", "3:1"),
    Kind.STUDENT: ("120 students", "student of 2019", "school in 2019", "pupils 11 to 19"),
    Kind.CODE: ("in case 12 of them", "order 1200 masks", "reference 12", "file 3"),
}


def _marked(text: str) -> tuple[str, str]:
    before, rest = text.split("«")
    value, after = rest.split("»")
    return before + value + after, value


@pytest.mark.parametrize(("kind", "case"), [(kind, case) for kind, cases in POSITIVE.items() for case in cases])
def test_it_is_found_whole_and_called_what_it_is(kind: Kind, case: str) -> None:
    text, value = _marked(case)
    spans = [span for span in found(text, frozenset(Kind)) if span.kind is kind]
    assert [text[span.start : span.end] for span in spans] and any(
        value in text[span.start : span.end] for span in spans
    ), found(text, frozenset(Kind))
    assert sum(span.end - span.start for span in spans) <= len(value) + 8


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in NEAR.items() for text in texts])
def test_what_only_looks_like_one_is_not_found(kind: Kind, text: str) -> None:
    assert [(text[s.start : s.end], s.recogniser) for s in found(text, frozenset({kind}))] == []


def test_every_class_that_rules_look_for_has_both_kinds_of_cases() -> None:
    assert set(POSITIVE) >= STRUCTURED
    assert set(NEAR) >= STRUCTURED
