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


class Keeper(threading.Thread):
    """Does both every ``keep_every`` seconds, until it is stopped.

    A hub that was away does not know who died meanwhile: workers have ``dead_after``
    seconds from its start to be heard of.
    """

    def __init__(self, hub: Hub) -> None:
        super().__init__(name="hub-keeper", daemon=True)
        self._hub, self._over = hub, threading.Event()

    def run(self) -> None:
        """Until :meth:`stop`; what fails is logged and tried again."""
        grace = time.monotonic() + self._hub.settings.dead_after
        while not self._over.wait(self._hub.settings.keep_every):
            try:
                sweep(self._hub)
                if time.monotonic() >= grace:
                    for run in requeue(self._hub):
                        _log.warning("the worker of run %s is dead", run)
            except Exception:
                _log.exception("the hub could not look after its queue")

    def stop(self) -> None:
        """End the thread, after what it is doing now."""
        self._over.set()
        self.join()
