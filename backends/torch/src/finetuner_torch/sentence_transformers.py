"""sentence-transformers directories: a transformer, its pooling, and what follows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from finetuner.contracts import LoadedModel
from finetuner.errors import ModelError
from finetuner_torch import xp
from finetuner_torch.huggingface import load_text, read_json
from finetuner_torch.texts import TOKENIZER, open_tokenizer

POOLINGS: Mapping[str, str] = {
    "cls": "cls",
    "cls_token": "cls",
    "mean": "mean",
    "mean_tokens": "mean",
    "max": "max",
    "max_tokens": "max",
    "lasttoken": "last",
}
"""Our poolings by sentence-transformers' names for them, new and old."""

ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "Sigmoid", "SiLU")
"""Activations of a dense module that are understood."""

CONFIGS = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""Names that the transformer module's settings have had."""


@dataclass(frozen=True)
class Recipe:
    """What ``modules.json`` asks for, in order."""

    transformer: Path
    pooling: str
    dense: tuple[Path, ...]
    normalize: bool


def load_sentence_model(path: Path, options: Mapping[str, Any]) -> LoadedModel:
    """The model with its pooling and normalisation as plan defaults.

    Where dense modules follow the pooling, all are wrapped in one module that
    gives the sentence embedding. The default prompt becomes the prefix.
    Raises ``ModelError`` for modules and poolings that are not understood.
    """
    recipe = read_recipe(path)
    settings = _settings(recipe.transformer)
    prefix = _default_prompt(path)
    loaded = load_text(
        recipe.transformer, options, tokens=settings.get("max_seq_length"), prefix=prefix
    )
    if settings.get("do_lower_case"):
        _require_lower_case(recipe.transformer)
    loaded = replace(loaded, reference=str(path))
    if not recipe.dense:
        defaults = {"pooling": recipe.pooling, "normalize": recipe.normalize}
        return replace(loaded, defaults=defaults)
    model = SentenceModel(loaded.model, recipe.pooling, [load_dense(p) for p in recipe.dense])
    return replace(loaded, model=model.eval(), defaults={"normalize": recipe.normalize})


def read_recipe(path: Path) -> Recipe:
    """Read ``modules.json`` and the pooling's settings."""
    modules = _modules(path)
    kinds = [kind for kind, _ in modules]
    dense = tuple(place for kind, place in modules if kind == "Dense")
    normalize = kinds[-1:] == ["Normalize"]
    expected = ["Transformer", "Pooling", *["Dense"] * len(dense), *["Normalize"] * normalize]
    if kinds != expected:
        raise ModelError(
            f"{path / 'modules.json'} asks for {' → '.join(kinds)}; understood are Transformer → "
            "Pooling → any number of Dense → Normalize. Wrap the model in a torch.nn.Module that "
            "gives the embedding, and give that with tokenizer="
        )
    return Recipe(modules[0][1], read_pooling(modules[1][1]), dense, normalize)


def read_pooling(path: Path) -> str:
    """Our name for the pooling in a pooling module's ``config.json``."""
    config = read_json(path / "config.json")
    given = config.get("pooling_mode")
    modes = [given] if isinstance(given, str) else list(given or ())
    if not modes:
        start = "pooling_mode_"
        modes = [key.removeprefix(start) for key, on in config.items() if on and start in key]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise ModelError(
            f"{path / 'config.json'} pools by {' + '.join(map(str, modes)) or 'nothing'}; "
            f"understood are one of {', '.join(sorted(set(POOLINGS)))}"
        )
    if not config.get("include_prompt", True) and _default_prompt(path.parent):
        raise ModelError(
            f"{path / 'config.json'} leaves the prompt out of the pooling, which is not "
            "supported: give prefix='' to go without a prompt"
        )
    return POOLINGS[modes[0]]


def load_dense(path: Path) -> nn.Sequential:
    """A dense module: a linear layer and its activation."""
    config = read_json(path / "config.json")
    file = path / "model.safetensors"
    if not file.is_file():
        raise ModelError(
            f"{path} has no model.safetensors: load the model with sentence-transformers once "
            "and save it again with model.save(DIRECTORY)"
        )
    name = str(config.get("activation_function", "Tanh")).rpartition(".")[2]
    name = name.removesuffix("()")
    odd = [key for key in ("use_residual", "module_output_name") if config.get(key)]
    if config.get("module_input_name", "sentence_embedding") != "sentence_embedding":
        odd.append("module_input_name")
    odd = [key for key in odd if config.get(key) != "sentence_embedding"]
    if name not in ACTIVATIONS or odd:
        raise ModelError(
            f"{path / 'config.json'}: {name if not odd else ', '.join(odd)} is not understood; "
            f"activations are {', '.join(ACTIVATIONS)}, and a dense layer works on the sentence "
            "embedding alone"
        )
    weights = load_file(file)
    linear = nn.Linear(config["in_features"], config["out_features"], bool(config["bias"]))
    try:
        linear.load_state_dict({k.removeprefix("linear."): v for k, v in weights.items()})
    except RuntimeError as error:
        raise ModelError(f"the weights in {file} do not fit its config.json: {error}") from error
    activation: nn.Module = getattr(nn, name)()
    return nn.Sequential(linear.float(), activation)


class SentenceModel(nn.Module):
    """A transformer with a pooling and dense layers behind it.

    Gives ``{"sentence_embedding": B×D}``; token ids and mask are B×N.
    """

    def __init__(self, transformer: nn.Module, pooling: str, dense: list[nn.Sequential]) -> None:
        super().__init__()
        from finetuner.plugins.host import default_host

        self.transformer = transformer
        self.dense = nn.ModuleList(dense)
        self._pool = default_host().get("poolings", pooling).function

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        output = self.transformer(input_ids=input_ids, attention_mask=attention_mask, **types)
        embedding = self._pool(xp, output.last_hidden_state, attention_mask, {})
        for layer in self.dense:
            embedding = layer(embedding)
        return {"sentence_embedding": embedding}


def _modules(path: Path) -> list[tuple[str, Path]]:
    """Class name and directory of each module. A directory outside ``path`` is refused."""
    file = path / "modules.json"
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        found = [(entry["type"].rpartition(".")[2], path / entry["path"]) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{file} is no list of modules: {error}") from error
    for _, place in found:
        if not place.resolve().is_relative_to(path.resolve()):
            raise ModelError(f"{file} names {place}, which lies outside {path}")
    return found


def _settings(path: Path) -> dict[str, Any]:
    files = [path / name for name in CONFIGS if (path / name).is_file()]
    return read_json(files[0]) if files else {}


def _default_prompt(path: Path) -> str:
    """The prompt that is put before every text unless the caller says otherwise."""
    file = path / "config_sentence_transformers.json"
    config = read_json(file) if file.is_file() else {}
    name = config.get("default_prompt_name")
    if name is None:
        return ""
    prompts = config.get("prompts") or {}
    if name not in prompts:
        raise ModelError(f"{file} has the default prompt {name!r}, but prompts {sorted(prompts)}")
    return str(prompts[name] or "")


def _require_lower_case(path: Path) -> None:
    """Settings that lower-case the text are honoured only where the tokenizer does it."""
    tokenizer = open_tokenizer(path / TOKENIZER)
    if tokenizer.encode("Red SHOE").ids != tokenizer.encode("red shoe").ids:
        raise ModelError(
            f"the settings in {path} lower-case the text, but its {TOKENIZER} does not: add a "
            "Lowercase normaliser to the tokenizer"
        )
