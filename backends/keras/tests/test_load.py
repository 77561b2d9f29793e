from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras_models import BACKEND, cnn, images, nested

import finetuner
from finetuner.errors import ModelError, UnknownNameError
from finetuner_keras.applications import image_steps


def test_a_keras_file_gives_the_model_that_was_saved(tmp_path: Path) -> None:
    model, path = cnn(), tmp_path / "cnn.keras"
    model.save(path)
    loaded = BACKEND.load(str(path), {})
    assert loaded.reference == str(path)
    sample = images(2)["image"]
    found, expected = (ops.convert_to_numpy(m(sample)) for m in (loaded.model, model))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_lambda_layer_in_a_file_is_refused_by_name(tmp_path: Path) -> None:
    code = layers.Lambda(lambda x: x * 2, name="twice")
    keras.Sequential([keras.Input((3,)), code, layers.Dense(2)]).save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match=r"lambda layer \('twice'\), which is code.*refused"):
        BACKEND.load(str(tmp_path / "m.keras"), {})


@pytest.mark.parametrize(
    ("layer", "needed"),
    [("TFSMLayer", "tensorflow"), ("TorchModuleWrapper", "torch"), ("JaxLayer", "jax")],
)
def test_a_file_for_another_keras_backend_says_which(
    layer: str, needed: str, tmp_path: Path
) -> None:
    if needed == keras.backend.backend():
        pytest.skip("this is that Keras backend")
    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input((3,)), layers.Dense(2, name="inner")]).save(path)
    _rewrite(path, "Dense", layer)
    with pytest.raises(ModelError, match=rf"{layer} \('inner'\).*set KERAS_BACKEND={needed}"):
        BACKEND.load(str(path), {})


def _rewrite(path: Path, old: str, new: str) -> None:
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["config.json"] = files["config.json"].replace(f'"{old}"'.encode(), f'"{new}"'.encode())
    json.loads(files["config.json"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def test_an_archive_that_expands_to_fill_the_memory_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", bytes(65 * 2**20))
    with pytest.raises(ModelError, match=r"config\.json would expand .* to 68,157,440 bytes"):
        BACKEND.load(str(path), {})


def test_a_class_that_is_not_known_is_said_to_need_registering(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input((3,)), layers.Dense(2)]).save(path)
    _rewrite(path, "Dense", "Dens")
    with pytest.raises(ModelError, match="register_keras_serializable"):
        BACKEND.load(str(path), {})


def test_files_of_other_kinds_are_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"")
    (tmp_path / "m.h5").write_bytes(b"")
    (tmp_path / "m.keras").write_bytes(b"no archive")
    for path, message in (
        (tmp_path, "TensorFlow SavedModel"),
        (tmp_path / "m.h5", "HDF5"),
        (tmp_path / "m.keras", r"no \.keras file"),
    ):
        with pytest.raises(ModelError, match=message):
            BACKEND.load(str(path), {})


def test_an_application_comes_with_its_own_preprocessing() -> None:
    loaded = BACKEND.load("keras/MobileNetV2", {"weights": None, "image_size": 64})
    assert loaded.model.output_shape == (None, 1280)
    assert loaded.preprocessing is not None
    assert loaded.preprocessing.inputs[0].shape == (None, 64, 64, 3)
    with pytest.raises(UnknownNameError, match="keras/MobileNetV2"):
        BACKEND.load("keras/MobileNetV22", {})


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("MobileNetV2", keras.applications.mobilenet_v2),
        ("ResNet50", keras.applications.resnet50),
        ("DenseNet121", keras.applications.densenet),
        ("EfficientNetB0", keras.applications.efficientnet),
    ],
)
def test_preprocessing_is_what_keras_does(name: str, module: Any) -> None:
    from PIL import Image

    from finetuner.data import Preprocessor
    from finetuner.plugins import default_host

    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    transforms = default_host().by_name("transforms")
    found = Preprocessor(image_steps(name, 32), {}, transforms).batch([Image.fromarray(pixels)])
    expected = module.preprocess_input(pixels[None].astype(np.float32))
    np.testing.assert_allclose(found["image"], expected, atol=2e-5)


def test_a_bare_model_says_how_large_its_images_are() -> None:
    told = BACKEND.load(nested(), {}).data_defaults
    assert told["layout"] == "channels-last"
    assert told["image_size"] == [8, 8]
    plan = finetuner.inspect(cnn())
    assert plan.head == ("fc",)


SCALING = {
    "0 to 255, rescaled": ([layers.Rescaling(1 / 255)], 255.0),
    "0 to 255, flipped and standardised": (
        [layers.RandomFlip(), layers.Normalization(mean=[124.0] * 3, variance=[58.0**2] * 3)],
        255.0,
    ),
    "0 to 1": ([layers.Rescaling(2.0, offset=-1.0)], 1.0),
}


@pytest.mark.parametrize("taken", SCALING)
def test_a_model_that_scales_images_is_fed_with_what_it_scales(taken: str) -> None:
    first, most = SCALING[taken]
    base = keras.Sequential([keras.Input((8, 8, 3)), *first, layers.Conv2D(2, 3)])
    model = keras.Sequential([keras.Input((8, 8, 3)), base, layers.GlobalAveragePooling2D()])
    told = BACKEND.load(model, {}).data_defaults
    assert (told["mean"], told["std"]) == ([0.0] * 3, [1 / most] * 3)


def test_scaling_behind_a_layer_that_learns_says_nothing_of_the_images() -> None:
    parts = [layers.Conv2D(3, 3), layers.Rescaling(1 / 255)]
    model = keras.Sequential([keras.Input((8, 8, 3)), *parts])
    assert "mean" not in BACKEND.load(model, {}).data_defaults
