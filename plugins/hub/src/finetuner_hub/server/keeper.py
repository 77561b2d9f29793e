"""What a hub does by itself, again and again."""

from __future__ import annotations

import logging
import threading
import time

from finetuner_hub.server.access import Hub
from finetuner_hub.server.services import attempts, devices, queue, tokens

_log = logging.getLogger(__name__)


def sweep(hub: Hub) -> None:
    """Remove what is over: tokens, log-ins, counts of tries."""
    now = hub.clock()
    with hub.database.write() as session:
        tokens.sweep(session, now)
        devices.sweep(session, now)
        attempts.sweep(session, now)


def requeue(hub: Hub) -> list[str]:
    """Queue the runs of dead workers again; gives their ids."""
    settings = hub.settings
    with hub.database.write() as session:
        return queue.requeue_dead(session, hub.clock(), settings.dead_after, settings.max_requeues)


def tend(hub: Hub, up: float) -> None:
    """Do both, on a hub that has been up for ``up`` seconds.

    A hub that was away does not know who died meanwhile: workers have ``dead_after``
    seconds from its start to be heard of.
    """
    sweep(hub)
    if up >= hub.settings.dead_after:
        for run in requeue(hub):
            _log.warning("the worker of run %s is dead", run)


class Keeper(threading.Thread):
    """Tends the hub every ``keep_every`` seconds, until it is stopped."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(name="hub-keeper", daemon=True)
        self._hub, self._over = hub, threading.Event()

    def run(self) -> None:
        """Until :meth:`stop`; what fails is logged and tried again."""
        started = time.monotonic()
        while not self._over.wait(self._hub.settings.keep_every):
            try:
                tend(self._hub, time.monotonic() - started)
            except Exception:
                _log.exception("the hub could not look after its queue")

    def stop(self) -> None:
        """End the thread, after what it is doing now."""
        self._over.set()
        self.join()
