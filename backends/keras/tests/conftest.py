"""What all tests share: they run on whatever KERAS_BACKEND names, TensorFlow by default."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import pytest

from finetuner_keras import engines

sys.path.insert(0, str(Path(__file__).parent))  # for keras_models


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one Keras backend, or for a GPU, are skipped elsewhere, with the reason."""
    for item in items:
        marker = item.get_closest_marker("keras_backend")
        if marker is not None and keras.backend.backend() not in marker.args:
            item.add_marker(pytest.mark.skip(reason=f"for Keras on {' or '.join(marker.args)}"))
        if "gpu" in item.keywords and engines.current().devices() == ("cpu",):
            item.add_marker(pytest.mark.skip(reason="no GPU device"))


@pytest.fixture(autouse=True, scope="session")
def _compiled_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """JAX finds what another test compiled: the small models are the same in many tests."""
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("jax")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
