"""The web page: the built files of `ui/`, served from this process with strict headers.

Promises: every file it serves was built from this repository and is read once, from `web/dist` inside the package; each
answer carries the content security policy, so that the page can load nothing from, and send nothing to, another host.
Never: renders a template, reads a path that a client named, or knows who is asking (the API answers that).

Read in this order: `static`.
"""

from intramural.web.static import CONTENT_SECURITY_POLICY, Page

__all__ = ["CONTENT_SECURITY_POLICY", "Page"]
