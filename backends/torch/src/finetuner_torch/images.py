"""The preprocessing of images, as steps that core runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finetuner.contracts import InputSpec, Preprocessing, Step
from finetuner.errors import ModelError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

INTERPOLATIONS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Pillow's resampling methods by their number."""


def image_preprocessing(
    extents: tuple[int, int],
    *,
    resize: int | Sequence[int] | None = None,
    crop: bool = True,
    rounding: str = "even",
    interpolation: str = "bilinear",
    factor: float = 1 / 255,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Preprocessing:
    """Resize, crop, scale and normalise to a float32 image of 3×height×width.

    ``extents`` are height and width at the end. ``resize`` is the size before the
    crop: the shorter side (by default the shorter extent), or height and width.
    """
    if resize is None:
        resize = min(extents) if extents[0] == extents[1] else list(extents)
    size = resize if isinstance(resize, int) else list(resize)
    steps = [
        Step("to-rgb"),
        Step("resize", {"size": size, "interpolation": interpolation}),
        Step("center-crop", {"size": list(extents), "rounding": rounding}),
        Step("scale", {"factor": factor}),
        Step("normalize", {"mean": list(mean), "std": list(std)}),
        Step("layout", {"order": "channels-first"}),
    ]
    kept = tuple(step for step in steps if crop or step.name != "center-crop")
    return Preprocessing("image", (InputSpec("image", "float32", (None, 3, *extents)),), kept)


def from_preprocessor_config(config: Mapping[str, Any]) -> Preprocessing:
    """Hugging Face's ``preprocessor_config.json`` as steps.

    Raises ``ModelError`` for what the steps cannot express.
    """
    for name in ("do_pad", "do_thumbnail", "do_flip_channel_order", "do_align_long_axis"):
        if config.get(name):
            raise ModelError(
                f"the image preprocessing asks for {name}, which is not supported: give the live "
                "module with preprocessing="
            )
    if not config.get("do_resize", True):
        raise ModelError(
            "the image preprocessing does not resize, so images would differ in size: give the "
            "live module with image_size= or preprocessing="
        )
    resize = _size(config.get("size"))
    crop = _size(config.get("crop_size")) if config.get("do_center_crop") else None
    resize, crop = _with_share(config, resize, crop)
    if crop is None and isinstance(config.get("size"), int):
        resize = [config["size"], config["size"]]
    final = [crop, crop] if isinstance(crop, int) else crop or resize
    if not isinstance(final, list):
        raise ModelError(
            "the image preprocessing does not say what size images have in the end: give the "
            "live module with image_size= or preprocessing="
        )
    return image_preprocessing(
        (final[0], final[1]),
        resize=resize,
        crop=crop is not None,
        rounding="down",
        interpolation=INTERPOLATIONS[int(config.get("resample", 2))],
        factor=_factor(config),
        **_statistics(config),
    )


def _factor(config: Mapping[str, Any]) -> float:
    return float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0


def _with_share(
    config: Mapping[str, Any], resize: int | list[int] | None, crop: int | list[int] | None
) -> tuple[int | list[int] | None, int | list[int] | None]:
    """``crop_pct`` (ConvNeXt): below 384 pixels an image is made larger, then cropped."""
    share = config.get("crop_pct")
    if not share or not isinstance(resize, int):
        return resize, crop
    if resize >= 384:
        return [resize, resize], crop
    return int(resize / share), resize


def _statistics(config: Mapping[str, Any]) -> dict[str, Any]:
    if not config.get("do_normalize", True):
        return {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    return {
        "mean": config.get("image_mean", IMAGENET_MEAN),
        "std": config.get("image_std", IMAGENET_STD),
    }


def _size(given: Any) -> int | list[int] | None:
    """An integer is the shorter side, a list height and width."""
    if isinstance(given, Mapping):
        if "shortest_edge" in given:
            return int(given["shortest_edge"])
        if "height" in given and "width" in given:
            return [int(given["height"]), int(given["width"])]
        raise ModelError(f"the image preprocessing has a size of {dict(given)}, which is not known")
    if isinstance(given, int):
        return given
    return list(given) if given is not None else None
