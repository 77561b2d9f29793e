"""The document class itself. Importing this imports docarray, which takes seconds beside torch."""

from typing import Any

from docarray import BaseDoc
from docarray.typing import NdArray


class Document(BaseDoc):
    """One item: a text, an image or an array, and the class that it belongs to.

    Fill one of ``text``, ``uri`` (the path of an image), ``blob`` (the bytes of
    an image file) or ``tensor`` (uint8 H×W×{1, 3, 4} pixels, or any array).
    ``finetuner_label`` is the class; ``tags["finetuner_label"]`` serves as well.
    """

    text: str | None = None
    uri: str | None = None
    blob: bytes | None = None
    tensor: NdArray | None = None  # type: ignore[type-arg]
    embedding: NdArray | None = None  # type: ignore[type-arg]
    tags: dict[str, Any] = {}  # noqa: RUF012  (pydantic copies defaults)
    finetuner_label: bool | int | float | str | None = None
