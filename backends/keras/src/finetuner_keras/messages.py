"""What an error of Keras or of an exporter says, in one line."""

from __future__ import annotations

import re

_COLOUR = re.compile(r"\x1b\[\d*m")


def cause(error: BaseException) -> str:
    """Class and first telling line of what an error began with.

    Exporters' reports have many pages, and Keras puts the layer's name, in colour,
    before the error of its call.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    lines = (line.strip() for line in _COLOUR.sub("", str(error)).splitlines())
    told = (line for line in lines if line and not line.startswith("Exception encountered"))
    return f"{type(error).__name__}: {next(told, 'no message').rstrip('.')}"
