"""What was measured, for those who are told of it: see docs/guard.md. A test holds these numbers to the test set."""

#: Version of the test set.
SET = "1"
#: Documents of our own set from which something of a class that rules look for was left.
LEAK_RATE = 0.0
#: The same of documents that nobody here wrote, names, places and organisations included, with the extra installed.
OUTSIDE_LEAK_RATE = 0.05


def claim() -> str:
    """The only words in which people are told what the guard does for them."""
    return f"Assisted redaction, measured leak rate {OUTSIDE_LEAK_RATE:.0%}".replace("%", " %")
