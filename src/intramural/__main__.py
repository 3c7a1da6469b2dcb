"""`python -m intramural`, and the program `intramural`: libraries are told to keep quiet before one is imported."""

from intramural.core import quiet


def main() -> None:
    """Entry point."""
    quiet.switch_off()
    from intramural.cli import main as program

    program()


if __name__ == "__main__":
    main()
