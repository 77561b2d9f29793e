"""Kinds of values that requests hold, and the answers that all routes may give."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

_ODD = re.compile("[\x00\ud800-\udfff]")
"""NUL, which PostgreSQL does not keep, and lone surrogates, which no UTF-8 has."""

Word = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")
]
"""A name: printable, on one line."""

Label = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]


def _replace_odd(text: str) -> str:
    return _ODD.sub("\ufffd", text)


def _refuse_odd(text: str) -> str:
    if _ODD.search(text):
        raise ValueError("it holds NUL or half of a character")
    return text


Text = Annotated[str, AfterValidator(_replace_odd)]
"""Any text. What no database keeps becomes U+FFFD, so that its length stays."""

Password = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_refuse_odd)]
Small = Annotated[int, Field(ge=0, le=2**31 - 1)]
Large = Annotated[int, Field(ge=0, le=2**53)]


class Request(BaseModel):
    """The body of a request. What it does not know, it refuses."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """The body of an answer, made of a record or a row."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class Problem(Answer):
    """Why something was refused."""

    detail: str


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of refusals."""
    return {status: {"model": Problem} for status in statuses}
