"""The model card says what, how good, and how to use it."""

from __future__ import annotations

import dataclasses

from finetuner.artifacts import model_card
from finetuner.contracts import AdaptationPlan, FreezeDecision, Manifest, Reason, RunSpec, Tap


def test_the_card_of_a_small_model(manifest: Manifest) -> None:
    card = model_card(manifest)
    assert card.startswith("# shop\n")
    assert "vector of 2 numbers of length 1" in card
    assert "`array` (float32, any × 4)" in card
    assert "| metric | before | after |\n|---|---:|---:|\n| recall@1 | 0.5000 | 0.7500 |" in card
    assert "finetuner.get_model(" in card
    assert "finetuner-core[cpu]" in card


def test_plan_and_run_are_summarised(manifest: Manifest) -> None:
    plan = AdaptationPlan(
        framework="torch",
        model="Net",
        inputs=("image",),
        output="0",
        head=("fc",),
        taps=(Tap("pool"),),
        features=None,
        pooling=None,
        width=8,
        output_dim=4,
        normalize=False,
        freeze=FreezeDecision("first:0.5", ("conv1", "conv2")),
        layers=(),
        reasons=(Reason("fc", "dense before softmax"),),
    )
    run = RunSpec("autumn", "net.onnx", "shop.csv", loss="TripletMarginLoss", epochs=3)
    card = model_card(dataclasses.replace(manifest, plan=plan, run=run, normalized=False))
    assert "numbers of length 1" not in card
    assert "- head removed: `fc`" in card
    assert "- projection: 4, normalised: no" in card
    assert "- freezing: first:0.5, 2 layers frozen" in card
    assert "- fc: dense before softmax" in card
    assert "training data: shop.csv" in card
    assert "loss: TripletMarginLoss" in card


def test_a_metric_missing_before_is_a_dash(manifest: Manifest) -> None:
    metrics = {"before": {"queries": 100.0}, "after": {"queries": 100.0, "map@r": 0.25}}
    card = model_card(dataclasses.replace(manifest, metrics=metrics))
    assert "| queries | 100 | 100 |" in card
    assert "| map@r | – | 0.2500 |" in card


def test_weights_only_says_so(manifest: Manifest) -> None:
    card = model_card(manifest, onnx=False)
    assert "weights only" in card
    assert "get_model" not in card


def test_names_cannot_break_out_of_their_place(manifest: Manifest) -> None:
    hostile = dataclasses.replace(
        manifest, name="a\n\n<script>|", metrics={"after": {"x|y\nz": 1.0}}
    )
    card = model_card(hostile)
    assert card.startswith("# a &lt;script>\\|\n")
    assert "| x\\|y z | " in card
