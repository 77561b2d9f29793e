"""A log as server-sent events, which a client resumes where it broke off.

Each event's id is the offset behind its text; a client that lost the line sends the
last one in ``Last-Event-ID``. The text stands in JSON, because a bare carriage return,
as progress bars print it, would end a line of the event.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import anyio
from anyio.to_thread import run_sync

from finetuner.contracts.runs import RunState
from finetuner_hub.server.errors import HubError
from finetuner_hub.server.services.outputs import LogPart

QUIET_SECONDS = 15.0
"""After so long without text a comment is sent, so that nobody between gives up the line."""


@dataclass(frozen=True)
class Moment:
    """The run's state, and the log as it was then or later."""

    state: RunState
    part: LogPart


async def follow(read: Callable[[int], Moment], offset: int, poll: float) -> AsyncIterator[str]:
    """Events from ``offset`` on, until the run is over or ``read`` refuses.

    The last one is called ``end`` and says which of the two.
    """
    sent = time.monotonic()
    yield ": the log follows\n\n"
    while True:
        try:
            moment = await run_sync(read, offset)
        except HubError as error:
            yield event({"detail": str(error)}, offset, "end")
            return
        if moment.part.text:
            offset, sent = moment.part.next_offset, time.monotonic()
            yield event({"text": moment.part.text}, offset)
        elif moment.state.final:
            yield event({"state": moment.state.value}, offset, "end")
            return
        else:
            if time.monotonic() > sent + QUIET_SECONDS:
                sent = time.monotonic()
                yield ": still here\n\n"
            await anyio.sleep(poll)


def event(data: dict[str, str], offset: int, name: str = "log") -> str:
    """One event in the format of the HTML standard, section 9.2."""
    return f"event: {name}\nid: {offset}\ndata: {json.dumps(data)}\n\n"
