"""Whether a store keeps what is there, which two writers of one tag depend on."""

from __future__ import annotations

import io

from finetuner.artifacts.keys import PROBE
from finetuner.contracts import Store
from finetuner.errors import ConflictError, StoreError


def require_create_if_absent(store: Store) -> None:
    """Raise ``StoreError`` unless the store refuses to create what is already there.

    One object, made by the first push, is asked to be made again by each later one:
    a store that refuses has shown what it must, in one small request.
    """
    for _ in range(2):  # the first may be the one that creates it
        try:
            store.put(PROBE, io.BytesIO(b"finetuner\n"), if_absent=True)
        except ConflictError:
            return
    raise StoreError(
        f"{store.url} overwrites what it was asked to create only if absent, so that of two "
        "pushes to one tag both would seem to win: use another store, or, where nobody else "
        "ever writes to this one, say so with single_writer (--single-writer)"
    )
