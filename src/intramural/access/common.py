"""The passwords that everybody tries first. Shorter ones than eight characters are refused by their length already."""

import string

#: Words that stay guessable whatever digits and marks are hung on either end, and whatever letters become digits.
_STEMS = """
abc abcd abcde abcdef abcdefg abcdefgh adgangskode admin administrator asdf asdfgh asdfghjkl asshole auditor autumn
baseball basketball batman butterfly changeme charlie chocolate computer contrasena contraseña cookie dallas daniel
default diamond dragon elephant facebook flower football freedom fuckyou gandalf google guest hannah haslo hello heslo
hockey hunter iloveyou internet intramural jennifer jessica jordan killer letmein liverpool login london lovely loveme
lozinka master matrix maverick mercedes michael michelle midnight minecraft monkey motdepasse mustang myspace naruto
nicole nothing ollama parola pass passord passw passwd password passwort phoenix pokemon princess private qazwsx
qazwsxedc qwe qwer qwert qwerty qwertyui qwertyuiop qwertz rainbow root salasana samsung scooter secret security senha
server shadow sifre snoopy soccer spiderman spring starwars steelers summer sunshine superman superuser system taylor
temp temporary test tester testing thunder tigger tinkerbell trustno user victoria wachtwoord welcome whatever william
winter yankees zaq zxc zxcvbn zxcvbnm
"""

#: Common ones that no stem covers.
_WHOLE = """
00110011 0987654321 10101010 1029384756 11223344 112233445566 12121212 12341234 12344321 123454321 1234554321 13131313
147258369 147852369 159357456 1a2b3c4d 1q2w3e4r 1q2w3e4r5t 1qaz2wsx 1qaz2wsx3edc 20202020 2468101214 31415926
3141592654 69696969 741852963 8675309a 987654321a a1b2c3d4 aabbccdd abcabcabc abcd1234 adminadmin adminpassword
asdasdasd asdf1234qwer asdfasdf changeit changethis correcthorsebatterystaple guestguest ihateyou iloveyou2 letmeinnow
loginlogin mypassword ncc1701d ncc1701e newpassword nopassword oldpassword openseasame opensesame passpass
passwordpassword pleasechange q1w2e3r4 q1w2e3r4t5 q1w2e3r4t5y6 qazwsx123 qweasd123 qweasdzxc qweqweqwe qwer1234asdf
qwerqwer rootpassword rootroot rush2112 secretpassword testpassword testtest thepassword userpassword useruser
welcomewelcome whatthefuck yourpassword zaq12wsx zaq1zaq1
"""

_STEM_WORDS = frozenset(_STEMS.split())
_WHOLE_WORDS = frozenset(_WHOLE.split())

#: Letters that digits and marks commonly stand for.
_UNLEET = str.maketrans("013457@$!", "oieastasi")
#: A common word with more than this many digits and marks around it may be a good password.
_MOST_ADDED = 8
_TAIL = string.digits + string.punctuation + string.whitespace
#: Runs of neighbours, in alphabet and on the keyboard.
_RUNS = (
    string.ascii_lowercase,
    string.digits + "0",
    "qwertyuiop",
    "qwertzuiop",
    "azertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwertyuiopasdfghjklzxcvbnm",
    "1234567890qwertyuiop",
)


def is_common(password: str) -> bool:
    """Whether `password` is among the first that an attacker tries. Pure; costs microseconds."""
    folded = password.casefold()
    joined = "".join(folded.split())
    if joined in _WHOLE_WORDS or len(set(folded)) <= 2 or _is_run(joined):
        return True
    stems = {folded.strip(_TAIL), folded.strip(_TAIL).translate(_UNLEET), folded.translate(_UNLEET).strip(_TAIL)}
    stems.add(folded.rstrip(_TAIL).translate(_UNLEET))
    return any(_is_stem(stem) and len(folded) - len(stem) <= _MOST_ADDED for stem in stems if stem)


def _is_stem(text: str) -> bool:
    return text in _STEM_WORDS or _doubled(text) in _STEM_WORDS or _is_run(text)


def _is_run(text: str) -> bool:
    return len(text) > 3 and any(text in run or text in run[::-1] for run in _RUNS)


def _doubled(text: str) -> str:
    """`half` where text is `halfhalf`, else the text."""
    half = text[: len(text) // 2]
    return half if half and half * 2 == text else text
