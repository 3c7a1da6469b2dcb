"""Asks one address every 10 ms until its standard input ends, then prints how long each answer took (ms, JSON).

    python -m bench._asker HOST:PORT /healthz

A process of its own: in that which makes the load, an answer would wait for the load's own turn.
"""

import http.client
import json
import select
import sys
import time

_EVERY_S = 0.01


def main(host: str, path: str) -> None:
    connection = http.client.HTTPConnection(host, timeout=60)
    times: list[float] = []
    while not select.select([sys.stdin], [], [], _EVERY_S)[0]:
        began = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        times.append((time.perf_counter() - began) * 1000)
    print(json.dumps(times))


if __name__ == "__main__":
    main(*sys.argv[1:])
