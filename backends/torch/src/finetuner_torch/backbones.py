"""Models by name, by directory, or as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetuner.contracts import BackboneRecord, LoadedModel
from finetuner.errors import ModelError, UnknownNameError, UsageError

PICKLES = frozenset({".pt", ".pth", ".bin", ".ckpt", ".pkl"})


def load(source: object, options: Mapping[str, Any]) -> LoadedModel:
    """A live module, or what a directory or a backbone's name stands for.

    A live module comes as it is: what it is fed is for core to work out. A
    directory is sentence-transformers' (``modules.json``) or Hugging Face's
    (``config.json``), with weights in safetensors.

    Raises:
        ModelError: nothing there can be loaded, or not safely.
        UnknownNameError: no such backbone, or no such option.
    """
    from torch import nn

    if isinstance(source, nn.Module):
        if options:
            raise UsageError(f"a live module takes no options: {', '.join(sorted(options))}")
        return LoadedModel(source, "torch")
    if not isinstance(source, (str, Path)):
        raise ModelError(
            f"a {type(source).__name__} is no PyTorch model: give a torch.nn.Module, the "
            "directory of a saved model, or the name of a backbone"
        )
    path = Path(source).expanduser()
    if path.is_dir():
        return load_directory(path, options)
    if path.is_file():
        raise _no_loader_for_file(path)
    for record in BACKBONES:
        if str(source).startswith(record.pattern.removesuffix("*")):
            return record.load(str(source), options)
    patterns = ", ".join(record.pattern for record in BACKBONES)
    raise UnknownNameError(
        "model", str(source), (), f"; it is no existing path and no backbone's name ({patterns})"
    )


def load_directory(path: Path, options: Mapping[str, Any]) -> LoadedModel:
    """The model of a sentence-transformers or Hugging Face directory."""
    if (path / "modules.json").is_file():
        from finetuner_torch.sentence_transformers import load_sentence_model

        return load_sentence_model(path, options)
    if (path / "config.json").is_file():
        from finetuner_torch.huggingface import load_huggingface

        return load_huggingface(path, options)
    found = ", ".join(sorted(entry.name for entry in path.iterdir())[:5]) or "nothing"
    raise ModelError(
        f"{path} holds neither modules.json (sentence-transformers) nor config.json (Hugging "
        f"Face), but {found}: give the directory that save_pretrained wrote"
    )


def _no_loader_for_file(path: Path) -> ModelError:
    if path.suffix in PICKLES:
        return ModelError(
            f"{path} is a pickle, which may run any code when it is read, and is refused: load "
            "it yourself and give the live module, or a directory with weights in safetensors"
        )
    return ModelError(
        f"{path} is a file of a kind that is not known: give a directory that save_pretrained "
        "wrote, or a live torch.nn.Module"
    )


def _timm(name: str, options: Mapping[str, Any]) -> LoadedModel:
    from finetuner_torch.timm import load_timm

    return load_timm(name, options)


def _timm_names() -> tuple[str, ...]:
    from finetuner_torch.timm import timm_names

    return timm_names()


def _torchvision(name: str, options: Mapping[str, Any]) -> LoadedModel:
    from finetuner_torch.torchvision import load_torchvision

    return load_torchvision(name, options)


def _torchvision_names() -> tuple[str, ...]:
    from finetuner_torch.torchvision import torchvision_names

    return torchvision_names()


BACKBONES: tuple[BackboneRecord, ...] = (
    BackboneRecord(
        "timm/*",
        "torch",
        _timm,
        "image",
        "image models of PyTorch Image Models, by timm's own names",
        _timm_names,
    ),
    BackboneRecord(
        "torchvision/*",
        "torch",
        _torchvision,
        "image",
        "torchvision's classifiers, by torchvision's own names",
        _torchvision_names,
    ),
)
