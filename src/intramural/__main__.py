"""`python -m intramural`."""

from intramural.cli import main

main()
