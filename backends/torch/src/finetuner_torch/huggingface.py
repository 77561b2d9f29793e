"""Hugging Face directories: a transformers model with its tokenizer or image preprocessing."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from finetuner.contracts import LoadedModel
from finetuner.errors import MissingDependencyError, ModelError
from finetuner_torch.images import from_preprocessor_config
from finetuner_torch.options import check_options
from finetuner_torch.texts import TOKENIZER, text_inputs, text_preprocessing, tokenizer_file

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
IMAGES = "preprocessor_config.json"
OPTIONS = ("head", "max_length", "prefix")

ENDLESS = 1_000_000
"""Tokenizers without a limit say an astronomic number."""

SHIFTED = frozenset({"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "xmod"})
"""Model types whose positions begin behind the padding token's number."""


def load_huggingface(path: Path, options: Mapping[str, Any]) -> LoadedModel:
    """The model of a directory that ``save_pretrained`` wrote, ready to be fed.

    The base model without a head is loaded; ``head=True`` loads the architecture
    that the directory names, classifier and all. ``max_length`` and ``prefix``
    are for text. No file is downloaded and no code of the directory is run.
    """
    if (path / TOKENIZER).is_file() or not (path / IMAGES).is_file():
        return load_text(path, options)
    check_options(options, OPTIONS[:1], "a Hugging Face image model")
    model = load_model(path, head=bool(options.get("head", False)))
    spec = from_preprocessor_config(read_json(path / IMAGES))
    return LoadedModel(model, "torch", spec, reference=str(path))


def load_text(
    path: Path, options: Mapping[str, Any], *, tokens: int | None = None, prefix: str = ""
) -> LoadedModel:
    """A text model; ``tokens`` and ``prefix`` are what its directory asks for besides."""
    check_options(options, OPTIONS, "a Hugging Face text model")
    file = tokenizer_file(path)
    model = load_model(path, head=bool(options.get("head", False)))
    config: Any = model.config
    names = inspect.signature(model.forward).parameters
    limit = length_limit(path, config)
    if tokens is not None:
        limit = tokens if limit is None else min(tokens, limit)
    spec = text_preprocessing(
        file,
        inputs=text_inputs(names, types=getattr(config, "type_vocab_size", 0) > 1),
        max_length=options.get("max_length", limit),
        padding_id=getattr(config, "pad_token_id", None),
        prefix=options.get("prefix", prefix),
        limit=length_limit(path, config),
    )
    return LoadedModel(model, "torch", spec, {TOKENIZER: file}, reference=str(path))


def load_model(path: Path, *, head: bool) -> nn.Module:
    """The transformers model in ``path``, float32, in evaluation mode.

    Raises ``ModelError`` for weights that are pickled or do not fit the model.
    """
    transformers = import_transformers()
    _require_safetensors(path)
    config = _config(transformers, path)
    cls = _architecture(transformers, path, config) if head else _base(transformers, path, config)
    extra: dict[str, Any] = {}
    if not head and "add_pooling_layer" in inspect.signature(cls.__init__).parameters:
        # The pooler is trained for another task and not read: leave it out.
        extra["add_pooling_layer"] = False
    attention = "sdpa" if getattr(cls, "_supports_sdpa", False) else "eager"
    with _quiet(transformers):
        model, report = cls.from_pretrained(
            path,
            config=config,
            attn_implementation=attention,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            **extra,
        )
    _require_fit(path, model, report, head)
    if getattr(model.config, "use_cache", False):
        model.config.use_cache = False
    loaded: nn.Module = model.float().eval()
    return loaded


def import_transformers() -> Any:
    """The transformers package. Raises ``MissingDependencyError`` naming the extra."""
    try:
        import transformers
    except ImportError as error:
        raise MissingDependencyError(
            "reading a Hugging Face or sentence-transformers directory needs transformers: "
            'pip install "finetuner-torch[text]"'
        ) from error
    return transformers


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object. Raises ``ModelError`` naming the file."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{file} holds a {type(values).__name__}, not a JSON object")
    return values


def length_limit(path: Path, config: Any) -> int | None:
    """The most tokens that the model can take, from its positions and its tokenizer's file."""
    limits = []
    positions = getattr(config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        padding = getattr(config, "pad_token_id", None) or 0
        limits.append(positions - (padding + 1 if config.model_type in SHIFTED else 0))
    file = path / "tokenizer_config.json"
    if file.is_file():
        own = read_json(file).get("model_max_length")
        if isinstance(own, (int, float)) and own < ENDLESS:
            limits.append(int(own))
    return min(limits, default=None)


def _config(transformers: Any, path: Path) -> Any:
    if "auto_map" in read_json(path / "config.json"):
        raise ModelError(
            f"{path} brings its own Python code (auto_map in config.json), which is not run: "
            "load the model yourself and give the live module with tokenizer="
        )
    try:
        return transformers.AutoConfig.from_pretrained(path, local_files_only=True)
    except (ValueError, OSError) as error:
        raise ModelError(f"{path / 'config.json'} names no model that is known: {error}") from error


def _base(transformers: Any, path: Path, config: Any) -> Any:
    """The headless class for a configuration."""
    mapping = transformers.AutoModel._model_mapping
    if type(config) not in mapping:
        raise ModelError(f"{path}: transformers has no base model for {config.model_type!r}")
    found = mapping[type(config)]
    return found[0] if isinstance(found, (list, tuple)) else found


def _architecture(transformers: Any, path: Path, config: Any) -> Any:
    """The class that the directory names."""
    for name in getattr(config, "architectures", None) or ():
        if cls := getattr(transformers, name, None):
            return cls
    raise ModelError(
        f"{path / 'config.json'} names no architecture of transformers "
        f"({getattr(config, 'architectures', None)}): leave head=True out to load the base model"
    )


def _require_safetensors(path: Path) -> None:
    if any((path / name).is_file() for name in WEIGHTS):
        return
    found = sorted(entry.name for entry in path.iterdir() if entry.suffix in (".bin", ".h5"))
    if found:
        raise ModelError(
            f"{path} has its weights in {found[0]} only, which is not read since a pickle can "
            "run code. If you trust it, convert it once: AutoModel.from_pretrained(DIRECTORY)"
            ".save_pretrained(DIRECTORY) writes model.safetensors"
        )
    raise ModelError(f"{path} has no weights: expected {' or '.join(WEIGHTS)}")


def _require_fit(path: Path, model: Any, report: Mapping[str, Any], head: bool) -> None:
    """Weights that the files do not hold would be random."""
    prefix = f"{model.base_model_prefix}."
    missing = sorted(name for name in report["missing_keys"] if not head or name.startswith(prefix))
    if missing or report.get("mismatched_keys"):
        what = ", ".join(missing[:3]) or str(next(iter(report["mismatched_keys"])))
        raise ModelError(
            f"the weights in {path} do not fit {type(model).__name__}: {what} "
            f"{'are missing' if missing else 'has another shape'}; "
            "check that config.json belongs to these weights"
        )


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Hold back progress bars and loading reports; everything is put back afterwards."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if bars:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
