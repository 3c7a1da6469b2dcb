"""The guard's test set: documents with what is in them, made from templates and a seed, the same on every machine.

`WORKED_ON` are the templates that the rules were written against. `APART` were written when the rules were finished,
are not looked at when rules change, and are what is published. Neither quotes anybody. A change to either, or to the
values, is a new VERSION.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from bench._guard_values import VALUES

VERSION = "1"
SEED = 20_261

WORKED_ON: Sequence[str] = (
    "Patient: {name} (MRN: {mrn}), DOB {date}, lives at {street}, {place}, MA {zip}.",
    "Phone {phone}, fax: {fax}, e-mail {email}.",
    "SSN {ssn}; member ID {member}; account number {account}.",
    "Driver's license {licence}, plate {vehicle}, pacemaker serial no. {device}.",
    "Dr. {name} saw this {age} man on {date} at {organisation}.",
    "Login from {ip} to {url} by {email}.",
    "Student ID: {student}. Case number {code}. Card {card}.",
    "{mrn} (MRN) was discharged on {date}.",
    "Please mail the report to {name}, {street}, {place}, OH {zip}.",
    "Her medical record number is {mrn} and her policy number is {member}.",
    "The patient, now {age}, was brought in from {place}. Call {phone}.",
    "| Name | {name} |\n| MRN | {mrn} |\n| Date of birth | {date} |\n| Fax | {fax} |",
    "VIN and plate: license plate number {vehicle}; device ID {device}; claim # {code}",
    "Discharge summary for {name}, medical record no. {mrn}, admitted {date} and discharged {date}. Lives with her "
    "daughter at {street}, {place}, WI {zip}.",
    "Hi team, could someone call {name} back on {phone}? She asked about the bill for account {account} dated {date}.",
    "To whom it may concern: this is to confirm that {name} (student number {student}) has attended {organisation} "
    "since {date}.",
    "REFERRAL\nFrom: Dr. {name}, {organisation}\nFax: {fax}\nRe: {name}, DOB: {date}, insurance policy number "
    "{member}\nReason: chest pain",
    "The {age} patient fell at home on {date}; EMS took her to {organisation} in {place}.",
    "Subject: transcript request\n\nMy name is {name} and my student ID is {student}. Please send it to {email} or to "
    "{street}, {place}, NC {zip}.",
    "Insurance card on file: subscriber ID {member}, group number {member}, customer service {phone}.",
    "He gave his social security number as {ssn} and his driver's licence as {licence}.",
    "Telemetry unit with serial number {device} was returned; its replacement (S/N {device}) connects from {ip}.",
    "{name} parks a grey Subaru, license plate {vehicle}, in the staff lot; the badge number is {code}.",
    "Payment of $420.50 was taken from card {card} on {date}. Questions: {phone} or {email}.",
    "Results are on the portal: {url}. If it does not open, write to {email}.",
    "Intake form\nFull name: {name}\nDate of birth: {date}\nAddress: {street}\nCity: {place}\nZIP code: {zip}\nHome "
    "phone: {phone}\nEmail: {email}",
    "Grandmother is {age} and lives alone near {place}; her emergency contact is {name} at {phone}.",
    "Encounter {code}: specimen number {code} collected {date}, MRN {mrn}, ordering provider {name}, NPI on file.",
    "Bus incident on {date}: vehicle with plate number {vehicle} hit the fence of {organisation}. Driver's license "
    "number {licence}.",
    "Please update the guardian of pupil number {student}: new telephone {phone}, new address {street}.",
    "Wire the refund to account number {account}; the old bank account {account} is closed.",
    "A request from {ip} for {url} was blocked at 08:14.",
    "The infusion pump, device ID {device}, alarmed while {name} was asleep.",
    "Fax the signed consent to {fax}, attention {name}. Prescription number {code} expires {date}.",
    "Ms. {name} turned in passport number {licence} as identification; medical license {licence} belongs to the "
    "surgeon.",
    "Patient ID {mrn} and health plan ID {member} do not match the record of {date}.",
    "She moved from {place} to {street}, {place}, TX {zip} on {date}.",
    "Teacher {name} reported that the learner (school ID {student}) was absent from {date} to {date}.",
    "Our records show SSN: {ssn}, Medicare number {member}, and a checking account ending {account}.",
    "He is {age} today, and still answers his own phone: {phone}. His chart number is {mrn}.",
    "Send faxes to {fax} only; the fax number {fax} on the website is out of date.",
    "I was seen by {name} at {organisation}. My case number was {code} and my MRN was {mrn}.",
    "The residents of the home are all old: one is {age}, another {age}, the third {age}.",
    "{name} wrote from {email} on {date}: the plate of the van was {vehicle}, its registration number {vehicle}.",
    "Charge it to my Visa, {card}, and send the receipt to {email}. If it fails use {card}.",
    "Serial {device} was implanted on {date} by {name}; the patient's ZIP is {zip}.",
    "{ssn} is the social on the 1099 for {name}. The ITIN field held {ssn}.",
    "Counselor note: {name}, student #{student}, {place} branch. Mother: {name}, mobile {phone}.",
    "Server {ip} answered for {url}; gateway {ip} did not.",
    "Postal code {zip} covers {place}. The clinic at {street} moved on {date}.",
    "Claim number {code}, member number {member}, date of service {date}, billed to {account} (account no.).",
    "The man gave a licence number, {licence}, that does not exist. He drove a truck with tags {vehicle}.",
    "At {age}, {name} is the oldest in {place}.",
    "HISTORY OF PRESENT ILLNESS: {name} is a {age} widow from {place} with atrial fibrillation, last seen here on "
    "{date}.",
    "Voicemail transcript: hello, this is {name}, my number is {phone}, I was born {date}, please ring me about the "
    "results, thank you.",
    "{date} - Parent meeting with {name}. Their son's district ID is {student}. They moved to {street} last month.",
    "SHIP TO:\n{name}\n{street}\n{place}, OK {zip}\n\nORDER NUMBER: {code}",
    "Device recall notice: units with serial numbers {device} and {device} must be returned before {date}.",
    "Attendance office: learner ID {student}, homeroom 12, guardian reachable by cell {phone} or at {email}.",
    "Denied: the subscriber number {member} was not active on {date}. Appeal by fax {fax}.",
    "Hospital number {mrn}; NHS style summary follows. Next of kin: {name}, telephone {phone}.",
    "Police report {code}: a silver Honda, plates {vehicle}, left {street} at 22:40; operator's license {licence}.",
    "Credit card number {card}, expires 09/27, in the name of {name}. Billing ZIP {zip}.",
    "From: {email}\nTo: {email}\nDate: {date}\nSubject: co-pay\n\nMy account no. is {account}. I paid twice.",
    "Admission face sheet | MRN {mrn} | SSN {ssn} | Plan ID {member} | Admit date {date} | PCP {name}",
    "My nan turned {age} in spring and lives with {name} in {place}.",
    "Audit: user at {ip} opened {url} and then {url} within a minute.",
    "Dr. {name}, DEA registration aside, holds state licence number {licence}; office fax: {fax}.",
    "Could you resend the form? Fax is {fax}. Snail mail: {street}, {place}, PA {zip}.",
    "ssn={ssn} dob={date} mrn={mrn} student_id={student}",
    '{"patient_name": "{name}", "mrn": "{mrn}", "phone": "{phone}", "zip_code": "{zip}"}',
    "The ventilator (serial no. {device}) went from {organisation} to {organisation} on {date}.",
    "Reference number {code} was given to {name} by the insurer; the member no. on the card reads {member}.",
    "She is {age} and was interviewed at {organisation} by {name}.",
    "Vehicle identification aside, the parking permit lists license plate {vehicle} for {name}.",
    "Donation from {name}: bank account number {account}, to be drawn on {date}.",
    "Enrollment number {student} belongs to a pupil who lives at {street}.",
    "Insurance ID: {member}\nGroup: see card\nPhone on card: {phone}\nAddress on file: {street}, {place}, CO {zip}",
    "Two residents, {age} and {age}, fell on {date}.",
    "Passport no. {licence} and driver license # {licence} were copied at the desk.",
    "See {url}, or mail {email}; the host is {ip}.",
    "Specimen ID {code}, patient number {mrn}, collected {date}, courier plate number {vehicle}.",
    "The ambulance with registration number {vehicle} carried defibrillator S/N {device}.",
    "Refund the card ending the order {code}: {card}. Account number on the invoice: {account}.",
    "Her social is {ssn}; do not write it down. Policy no. {member}, effective {date}.",
    "I live at {street} in {place}. My zip code is {zip} and my email address is {email}.",
    "Call center: {phone}. After hours: {phone}. TTY: {phone}.",
    "On {date} at {organisation}, {name} signed for acct. {account} with license number {licence}.",
    "Firewall: deny tcp {ip} -> {ip} port 443",
    "Faxed to {fax} on {date} and again to {fax} on {date}.",
    "Student {name}, ID number {student}, takes bus 14 from {street}.",
    "Case no. {code}. Chart # {mrn}. The claimant, aged {age}, has no phone.",
    "Links: {url} (photos), {url} (homework).",
    "Social Security Number: {ssn}. Spouse's SSN: {ssn}.",
    "Visa {card} was declined; Mastercard {card} went through.",
    "Pump serial number: {device}. Unit IP: {ip}. Ward: 4 West.",
    "Savings account {account} and checking account {account} are joint.",
)

APART: Sequence[str] = (
    "CHIEF COMPLAINT: dizziness. {name}, {age}, was driven in by a neighbour from {street}.",
    "Registration desk note {date}: new patient {name}, medical record number {mrn}, prefers calls on {phone} after "
    "six.",
    "Dear {name},\n\nYour appointment with Dr. {name} at {organisation} has been moved to {date}. Call {phone} to "
    "change "
    "it.\n\nSincerely,\n{name}",
    "Field trip list: {name} (student ID {student}), {name} (student ID {student}), {name} (student ID {student}).",
    "Explanation of benefits. Member number: {member}. Claim number: {code}. Service date: {date}. Provider: "
    "{organisation}, {place}.",
    "The wheelchair van has license plate {vehicle}; the spare van's plate is {vehicle}.",
    "Implant card: manufacturer serial number {device}, date of implant {date}, follow-up at {organisation}.",
    "Log line: {date} user={email} src={ip} url={url} status=200",
    "Lost and found: a wallet with a driver's license ({licence}) and a Visa card ({card}), name {name}.",
    "Please fax records to {fax} or mail them to {organisation}, {street}, {place}, GA {zip}.",
    "He recited his SSN, {ssn}, over the phone from {phone}.",
    "IEP meeting for student number {student}: present were {name}, {name} and the mother, {name}.",
    "Direct deposit goes to account number {account} at a bank in {place}.",
    "At age {age}? No: she is {age}, born in {place}, and walks to {organisation} daily.",
    "Mail returned to sender: {street}, {place}, WA {zip}. Forward to {street}.",
    "My e-mail changed from {email} to {email} on {date}.",
    "Ticket number {code}: the monitor with serial number {device} shows the address {ip}.",
    "Medicaid ID {member}; social security no. {ssn}; hospital no. {mrn}.",
    "name,mrn,dob,phone,zip\n{name},MRN {mrn},{date},{phone},ZIP {zip}",
    "{name}'s scans are at {url}, password sent to {email}.",
    "Nurse {name}, licence number {licence}, gave the dose on {date}.",
    "The fax from {organisation} came from {phone}, not from fax number {fax}.",
    "School ID number {student}; lunch account number {account}; balance $12.40.",
    "Accident report no. {code}, {date}: plate {vehicle} struck plate {vehicle} near {street}.",
    "Her chart number, {mrn}, was written on the cup, with the specimen number {code}.",
    "This {age} gentleman lives in {place} and drives; his licence number is {licence}.",
    "Paid by card number {card} on {date}; authorization number {code}.",
    "Reach the guardian at {phone} (home), {phone} (work), {email}.",
    "Her policy number ({member}) and group number ({member}) are on page 2.",
    "Glucose meter, serial # {device}, was assigned to MRN {mrn} on {date}.",
    "Visit {url} before {date}. Staff addresses such as {ip} are logged.",
    "Postal code: {zip}. Street: {street}. Town: {place}. Tel.: {phone}. Fax: {fax}.",
    "Residents over ninety: {name}, {age}; {name}, {age}.",
    "{name}, SSN {ssn}, opened savings account number {account} on {date}.",
    "Tag number {vehicle}; passport number {licence}; badge number {code}; employee number {code}.",
    "cardholder: {name}\ncard no: {card}\nbilling zip: {zip}\nphone: {phone}",
    "the pt is {age}, ssn on file is {ssn}, fax consent to {fax} pls",
    "API call from {ip}: GET {url} (client {email})",
    "Subscriber number {member}, dependent {name}, zip {zip}, ph {phone}.",
    "Pupil {name}: learner number {student}, bus plate {vehicle}, tablet serial {device}.",
    "Car registration number {vehicle}, parked at {street}, {place}, NE {zip}, since {date}.",
    "Account {account}, card {card}: charged twice on {date}.",
)

#: Sentences in which there is nothing, and that look as if there were.
NOTHING: Sequence[str] = (
    "Take 1/2 tablet twice daily, 500 mg after meals, for 10 days.",
    "Blood pressure was 120/80, pulse 72, temperature 98.6, oxygen 97% on room air.",
    "Version 2.4.1 of the form replaces version 10.2.3.4 in 2024.",
    "The 89-year-old rule applies to ages above; she is 45 years old.",
    "Chapter 12, section 3.4.5, pages 110-118 are due for grade 7.",
    "About 95 of 120 students passed, 79.2 percent, up from 64 in 2019.",
    "A 95-year-old building is a 5 minute walk and a 2 hour drive away.",
    "Invoice total: $1,234.56 plus 8.25% tax; 3 items at $19.99.",
    "Room 214 holds 30 chairs; bring 12 pencils and 2 rulers.",
    "The equation 3x + 12 = 48 gives x = 12; 7/8 of the class agreed.",
    "Glucose 110 mg/dL, sodium 139, potassium 4.1, creatinine 0.9, WBC 6.4.",
    "ISO 27001 and RFC 9162 are standards; HTTP 404 is a status.",
    "In 2019 the hospital had 412 beds and 1,250 staff.",
    "The score was 21-17 after 45 minutes, and 3 of 11 players were replaced.",
    "Use port 8080 and a timeout of 30000 ms; the limit is 65536 bytes.",
    "She may march in May; the sun sets at 7:45 pm on Monday.",
    "Part number list: see appendix B, table 3, row 14.",
    "Call the function with 3 arguments and return within 200 ms.",
    "The quick brown fox read 14 books in 3 weeks and lost 2.",
    "Hemoglobin A1c 6.8%, LDL 112, HDL 45, eGFR > 60, INR 2.5.",
    "Questions 11 to 19 are worth 5 points each; the pass mark is 60/100.",
    "Between 1914 and 1918 about 9 million soldiers died.",
    "Ratio 3:1, scale 1:50000, ISO 100, f/2.8, 1/250 s.",
    "The bus leaves at 07:45 and again at 16:05, platform 9.",
    "In group 4 there were 25 pupils, in group 12 only 18.",
    "Give 0.5 mL IM, lot on the box; repeat in 4-6 weeks, max 3 doses.",
    "She ran 5 km in 24:31 and 10 km in 52:07.",
    "A 16 GB laptop with 512 GB of disk costs $899 or 12 payments of $79.",
)

#: What schools and clinics write when it is about nobody: full of capitals, and of words that are names elsewhere.
PROSE: Sequence[str] = (
    "Medications: Lisinopril 10 mg daily, Metformin 500 mg twice daily, Atorvastatin 40 mg at bedtime. Allergies: "
    "Penicillin, Sulfa. Tylenol and Advil as needed; Zofran for nausea.",
    "Assessment: Type 2 diabetes, poorly controlled. Plan: Increase Metformin, recheck A1c in three months, refer to "
    "Podiatry and Ophthalmology. Follow up with Endocrinology.",
    "Heart sounds were regular without murmur. Babinski was negative on both sides, Romberg negative, Tinel positive "
    "over the left wrist. Reflexes brisk at the Achilles.",
    "History of Crohn disease, Raynaud phenomenon and a Colles fracture. No sign of Parkinson disease or of Alzheimer"
    " dementia. A Foley catheter was placed and a Hickman line removed.",
    "The Glasgow Coma Scale was fifteen, the Apgar scores were eight and nine, the Braden score was low. "
    "Trendelenburg position was avoided.",
    "Chest X-ray: Clear lungs. Abdomen: Soft, not tender. Skin: Warm and dry. Extremities: No edema. Neuro: Alert and"
    " oriented. Gait: Steady with a walker.",
    "Nursing to assist with transfers. Physical Therapy and Occupational Therapy to evaluate. Social Work is aware. "
    "Case Management will arrange home oxygen.",
    "Give Ceftriaxone in the Emergency Department, then change to Amoxicillin. Hold Warfarin and start Heparin. Blood"
    " cultures grew Escherichia coli; Staphylococcus aureus was not found.",
    "The patient may shower on Tuesday. She will return in March or in May, whichever comes first. Grace period for "
    "the copay ends in June.",
    "Vitals were stable overnight. The patient denies chest pain, and hopes to go home. Joy and hope were words he "
    "used. Bill was sent to the insurer; mark the chart as complete.",
    "Consent was signed. Questions were answered. Discharge instructions were given in Spanish and in Vietnamese. An "
    "interpreter for Haitian Creole was offered.",
    "Immunizations: Hepatitis B, Polio, Varicella, Influenza. Screening: Vision passed, Hearing passed, Lead pending.",
    "Leukocytes, Platelets, Creatinine and Bilirubin were normal. Urine: Clear. Sputum: Pending. Serum Sodium was low.",
    "Pupils will read chapters four to six of the novel and write an essay on courage. Spelling counts. Late work "
    "loses ten percent a day.",
    "Algebra, Geometry, Advanced Placement Chemistry and World History meet every day. Band, Choir and Robotics meet "
    "on Monday and Thursday after school.",
    "Homework for Wednesday: Draw the water cycle. Label Evaporation, Condensation and Precipitation. Bring Scissors "
    "and Glue. Art supplies are in the blue cabinet.",
    "The Science Fair is in the Gymnasium on Friday. Doors open at six. Parking is behind the Library. Chess Club and"
    " Debate Team sell lemonade.",
    "Photosynthesis takes place in the Chloroplast. Mitosis has four phases: Prophase, Metaphase, Anaphase, "
    "Telophase. Mendel and peas come next week.",
    "The Pythagorean theorem, Newtonian mechanics and the Fahrenheit scale will be on the test. Use Celsius in the "
    "lab. Ohm and Volt are units.",
    "Students with an Individualized Education Program get extra time. Speech Therapy is on the second floor. The "
    "Nurse keeps the Medication log.",
    "Report cards go home in Kindergarten through Grade Five. Conduct: Satisfactory. Effort: Outstanding. Penmanship:"
    " Needs improvement. Attendance: Good.",
    "Parents are invited to the Winter Concert. Refreshments follow. Please label coats, boots and lunch boxes. Lost "
    "items are given to charity in December.",
    "Chromebooks must be charged at home. Sign in to Google Classroom, open Assignments, choose Turn In. Printing is "
    "in the Media Center only.",
    "Bullying is reported to any adult. Detention is on Saturday. Hall passes are pink. Fire drills happen monthly; "
    "walk, do not run. Buses load at the North entrance.",
    "Cafeteria menu: Monday Pizza, Tuesday Tacos, Wednesday Chicken Alfredo, Thursday Caesar salad, Friday Graham "
    "crackers with Colby cheese. Peanut free table available.",
    "please take the blue pill at noon and the white one at night, and drink plenty of water. call us if the rash "
    "comes back or the fever goes over one hundred.",
    "i need help with my homework about the french revolution and the cold war. what was the main cause, and can you "
    "make a table of the most important dates?",
    "the class went to the zoo and saw a lion, a bear and two young giraffes. everyone wrote a short story. the best "
    "ones hang in the hall by the office.",
)

_SLOT = re.compile(r"\{([a-z]+)\}")


@dataclass(frozen=True, slots=True)
class Instance:
    """`kind` stands at `start` to `end` of its document."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Document:
    """A text and everything in it."""

    text: str
    instances: tuple[Instance, ...]


def documents(templates: Sequence[str], each: int, seed: int = SEED) -> list[Document]:
    """`each` documents of every template, half of them with a sentence of `NOTHING` before or behind."""
    r = Random(f"{VERSION}:{seed}:{len(templates)}")
    return [_filled(template, r) for template in templates for _ in range(each)]


def _filled(template: str, r: Random) -> Document:
    before, behind = r.choice((("", ""), ("", ""), (r.choice(NOTHING) + " ", ""), ("", " " + r.choice(NOTHING))))
    text, instances, place = before, [], 0
    for slot in _SLOT.finditer(template):
        text += template[place : slot.start()]
        value = VALUES[slot[1]](r)
        instances.append(Instance(slot[1], len(text), len(text) + len(value)))
        text += value
        place = slot.end()
    return Document(text + template[place:] + behind, tuple(instances))
