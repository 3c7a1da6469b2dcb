"""A module that starts a thread when it is imported: it would keep what confinement takes away."""

import threading

threading.Thread(target=threading.Event().wait, daemon=True).start()


def entry(_arg: object, _files: object) -> None:
    """Never reached."""
