"""The model card: ``README.md`` of a bundle."""

from __future__ import annotations

from finetuner.artifacts.manifest import MODEL
from finetuner.contracts import AdaptationPlan, Manifest, Preprocessing


def model_card(manifest: Manifest, *, onnx: bool = True) -> str:
    """Markdown that says what the model is, how good it is and how to use it."""
    parts = [
        f"# {_plain(manifest.name)}",
        _introduction(manifest),
        _usage(manifest, onnx),
        _metrics(manifest.metrics),
        _plan(manifest.plan),
        _training(manifest),
        _versions(manifest),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _introduction(manifest: Manifest) -> str:
    unit = " of length 1" if manifest.normalized else ""
    kind = {"text": "texts", "image": "images", "array": "arrays"}[manifest.preprocessing.modality]
    return (
        f"An embedding model for {kind}: each becomes a float32 vector of "
        f"{manifest.width} numbers{unit}. {_inputs(manifest.preprocessing)}"
    )


def _inputs(preprocessing: Preprocessing) -> str:
    shapes = [
        f"`{spec.name}` ({spec.dtype}, "
        + " × ".join("any" if extent is None else str(extent) for extent in spec.shape)
        + ")"
        for spec in preprocessing.inputs
    ]
    cut = (
        f" Texts are cut at {preprocessing.max_length} tokens." if preprocessing.max_length else ""
    )
    return f"Inputs: {', '.join(shapes)}.{cut}"


def _usage(manifest: Manifest, onnx: bool) -> str:
    if not onnx:
        return "This bundle holds weights only: it was made without ONNX."
    example = {
        "text": '["a first text", "a second one"]',
        "image": '["one.jpg", "two.jpg"]',
        "array": "array",
    }[manifest.preprocessing.modality]
    return (
        "## Use\n\n```python\nimport finetuner  # pip install 'finetuner-core[cpu]'\n\n"
        'model = finetuner.get_model("path/to/this/directory")\n'
        f"vectors = finetuner.encode(model, {example})\n```\n\n"
        f"`{MODEL}` runs in any ONNX runtime; its one output is `{manifest.output}`."
    )


def _metrics(metrics: dict[str, dict[str, float]]) -> str:
    if not metrics:
        return ""
    moments = list(metrics)
    names = list(dict.fromkeys(name for values in metrics.values() for name in values))
    lines = [
        f"| metric | {' | '.join(map(_plain, moments))} |",
        "|---|" + "---:|" * len(moments),
    ]
    for name in names:
        cells = [_number(metrics[moment].get(name)) for moment in moments]
        lines.append(f"| {_plain(name)} | {' | '.join(cells)} |")
    return "## Retrieval\n\n" + "\n".join(lines)


def _plan(plan: AdaptationPlan | None) -> str:
    if plan is None:
        return ""
    pooling = plan.pooling.name if plan.pooling else "the model's own"
    lines = [
        f"- framework: {plan.framework}, model: {_plain(plan.model)}",
        f"- head removed: {', '.join(map(_code, plan.head)) or 'none'}",
        f"- pooling: {_plain(pooling)}",
        f"- projection: {plan.output_dim or 'none'}, normalised: {_yes(plan.normalize)}",
        f"- freezing: {_plain(plan.freeze.policy)}, {len(plan.freeze.frozen)} layers frozen",
        *(f"- {_plain(reason.subject)}: {_plain(reason.text)}" for reason in plan.reasons),
    ]
    return "## How it was made from its backbone\n\n" + "\n".join(lines)


def _training(manifest: Manifest) -> str:
    run = manifest.run
    if run is None:
        return ""
    lines = [
        f"- run: {_plain(run.name)}",
        f"- model: {_plain(run.model)}, training data: {_plain(run.train_data)}",
        f"- loss: {_plain(run.loss)}, miner: {_plain(run.miner or 'the default')}, "
        f"epochs: {run.epochs}, seed: {run.seed}",
    ]
    return "## Training\n\n" + "\n".join(lines)


def _versions(manifest: Manifest) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
    made = f"Made {manifest.created}" if manifest.created else "Made"
    return f"{made} with {versions}." if versions else ""


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return str(int(value)) if float(value).is_integer() and abs(value) > 1 else f"{value:.4f}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _code(text: str) -> str:
    return f"`{text}`"


def _plain(text: str) -> str:
    """Text that cannot break out of its line or table cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
