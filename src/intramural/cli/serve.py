"""`intramural serve`: seal the process, open the house, answer on TCP and on the private socket, until told to stop."""

import asyncio
import gc
import signal
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from intramural import app
from intramural.cli.render import Out
from intramural.core.config import Config
from intramural.sandbox import Posture
from intramural.sandbox.seal import Seal
from intramural.sandbox.spawning import spawner_died
from intramural.services.enclosure import Enclosure

#: How long one thread may keep the interpreter from another.
_SWITCH_INTERVAL_S = 0.0005


def serve(config: Config, out: Out) -> None:
    """Serve until SIGINT or SIGTERM. Raises IntramuralError when the process cannot be sealed or the house opened, and
    Broken(`spawner_died`) when the process that starts workers ends: it cannot be had again from in here."""
    with app.enclosed(config) as (enclosure, listener):
        uvloop.run(_serve(config, out, enclosure, listener))


async def _serve(config: Config, out: Out, enclosure: Enclosure, listener: socket.socket) -> None:
    # The log is committed on a thread of its own; at Python's default of 5 ms it could hold up a first token that long.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(app.opened(config, enclosure))
        going_out = asyncio.ensure_future(house.egress.open())
        await stack.enter_async_context(app.console(house))
        await app.shelve_starter(house, out.note)
        await house.services.pulls.go_on()
        await house.services.batches.go_on()
        await going_out  # before anybody can ask for what needs it
        host, port = await stack.enter_async_context(app.listening(house, listener))
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        token = await house.access.setup.begin()
        _keep_for_good()
        _greet(out, config.data_dir, address, token, house.posture, enclosure.seal)
        loading = asyncio.ensure_future(app.preload(house, out.note))
        loading.add_done_callback(lambda _: out.note("Ready."))
        later = asyncio.ensure_future(app.preload_in_time(house, out.note))
        enclosure.spawner.lost.add_done_callback(lambda _: stop.set())
        await stop.wait()
        out.note("Stopping…")
        loading.cancel()
        later.cancel()
        if enclosure.spawner.lost.done():
            raise spawner_died()


def _keep_for_good() -> None:
    """What is there once the service has started stays: the collector need not look through it again and again."""
    gc.freeze()


def _greet(out: Out, data_dir: Path, address: str, token: str | None, posture: Posture, seal: Seal) -> None:
    level, reasons = posture.level.value, posture.reasons
    link = f"{address}/#/setup?token={token}" if token else None
    if out.mode == "json":
        out.json({"address": address, "setup_link": link, "confinement": level, "seal": seal.level})
        return
    if out.mode == "quiet":
        print(link or address, flush=True)
        return
    print(f"\n  intramural is at  {address}", flush=True)
    if link:
        print(f"  set it up here    {link}", flush=True)
        print("                    (works once; makes the first administrator)", flush=True)
    print(f"  kept in           {data_dir}", flush=True)
    print(f"  confinement       {level}{'' if not reasons else ' — ' + '; '.join(reasons)}", flush=True)
    may = f"may connect for {', '.join(seal.connects)}" if seal.connects else "connects to nobody"
    print(f"  the service       sealed: {seal.level}; {may}\n", flush=True)
