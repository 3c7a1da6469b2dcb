"""Whether the service answers: asked of itself, inside the container. Exit status 0 or 1."""

import http.client
import os
import sys

host, port = "127.0.0.1", int(os.environ.get("INTRAMURAL_SERVER_PORT", "8080"))
try:
    connection = http.client.HTTPConnection(host, port, timeout=4)
    connection.request("GET", "/healthz")
    sys.exit(0 if connection.getresponse().status == 200 else 1)
except OSError:
    sys.exit(1)
