"""Serves the built page.

Promises: only files that the build put into `dist/`; headers under which the page can reach no other host and no other
site can frame it; hashed files may be kept for ever, the page itself is asked for anew each time.
Never: knows who is asking. Whatever the page shows it gets from `/intramural/v1` and `/v1` like everybody else.
"""

from intramural.web.static import page

__all__ = ["page"]
