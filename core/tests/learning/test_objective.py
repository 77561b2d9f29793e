from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from finetuner.builtin.learning import DISTANCES, LOSSES, MINERS
from finetuner.contracts import DistanceRecord, LossRecord, MinerRecord, Triplets
from finetuner.errors import UnknownNameError, UsageError
from finetuner.learning import References, make_objective, resolve_objective
from finetuner.learning.losses import triplet_margin
from finetuner.plugins.host import Host

LOSS = {record.name: record for record in LOSSES}
MINER = {record.name: record for record in MINERS}
DISTANCE = {record.name: record for record in DISTANCES}


def objective(loss: str | LossRecord, miner: str | None = None, **options: Any) -> Any:
    record = LOSS[loss] if isinstance(loss, str) else loss
    distance = DISTANCE[options.pop("distance", "cosine")]
    found = MINER[miner] if miner else None
    return make_objective(record, distance, found, classes=3, width=4, miners=MINERS, **options)


def batch(size: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(size, 4)).astype(np.float32), np.arange(size) % 3


def every_pair_of_names() -> list[tuple[str, str | None]]:
    fed = [(loss.name, miner.name) for loss in LOSSES if loss.miner for miner in MINERS]
    return fed + [(loss.name, None) for loss in LOSSES if loss.miner is None]


@pytest.mark.parametrize(("loss", "miner"), every_pair_of_names())
@pytest.mark.parametrize("distance", DISTANCE)
def test_every_loss_runs_with_every_miner_that_fits(
    xp: Any, loss: str, miner: str | None, distance: str
) -> None:
    value, scalars = objective(loss, miner, distance=distance)(xp, *batch(), {}, 0)
    assert value > 0
    assert value.shape == ()
    assert set(scalars) == {"active", "positive_distance", "negative_distance"}
    assert 0 < scalars["active"] <= 1


def test_scalars_are_the_mean_distances(xp: Any) -> None:
    embeddings = np.array([[1, 0], [1, 0], [0, 1], [-1, 0]], np.float32)
    _, scalars = objective("SupConLoss")(xp, embeddings, np.array([0, 0, 1, 1]), {}, 0)
    assert scalars["positive_distance"] == pytest.approx(0.5)
    assert scalars["negative_distance"] == pytest.approx(1.5)


def test_the_losses_margin_flows_to_the_miner(xp: Any) -> None:
    found = objective("TripletMarginLoss", "all", loss_options={"margin": 0.7})
    assert found.miner_options == {"margin": 0.7}
    assert objective("TripletMarginLoss", "all").miner_options == {"margin": 0.2}
    assert objective("TripletMarginLoss", "hard").miner_options == {}


def test_two_margins_for_pair_weights_are_refused() -> None:
    options = {"loss_options": {"margin": 0.7}, "miner_options": {"margin": 0.3}}
    with pytest.raises(UsageError, match=r"margin=0\.3 and loss TripletMarginLoss margin=0\.7"):
        objective("TripletMarginLoss", "all", **options)


def test_a_memory_is_compared_with_and_never_self(xp: Any) -> None:
    """Every anchor meets its own copy in the memory as a positive."""
    embeddings, labels = batch(4)
    found = objective("ContrastiveLoss", loss_options={"neg_margin": 9.0}, distance="euclidean")
    memory = References(embeddings[:1] + np.float32(0.5), labels[:1])
    value, _ = found(xp, embeddings, labels, {}, 0, references=memory)
    everything = np.concatenate([embeddings, memory.embeddings])
    d = np.sqrt(((embeddings[:, None] - everything[None]) ** 2).sum(axis=2))
    same = labels[:, None] == np.append(labels, labels[0])[None]
    itself = np.eye(4, 5, dtype=bool)
    expected = d[same & ~itself].mean() + (9 - d[~same]).mean()
    assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", ["TripletMarginLoss", "SupConLoss", "NTXentLoss"])
def test_gathered_parts_give_the_whole_batch(xp: Any, loss: str) -> None:
    """Each of two ranks mines its anchors against all: every pair is met once."""
    embeddings, labels = batch(12)
    found = objective(loss, LOSS[loss].miner)
    seen: list[Any] = []
    record = replace(found.loss, function=lambda xp, pairs: (seen.append(pairs), np.float32(0))[1])
    spying = replace(found, loss=record, loss_options={})
    spying(xp, embeddings, labels, {}, 0)
    for start in (0, 6):
        part = slice(start, start + 6)
        gathered = References(embeddings, labels, start)
        spying(xp, embeddings[part], labels[part], {}, 0, references=gathered)
    whole, *parts = seen
    for name in ("distances", "positive", "negative", "is_self"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_allclose(joined, getattr(whole, name), atol=1e-6)


def test_half_precision_is_lifted(xp: Any) -> None:
    embeddings, labels = batch()
    value, _ = objective("SupConLoss")(xp, embeddings.astype(np.float16), labels, {}, 0)
    assert value.dtype == np.float32


def test_a_third_party_loss_may_give_a_scalar_alone_and_declare_parameters(xp: Any) -> None:
    def loss(xp: Any, pairs: Any, *, power: float = 1.0) -> Any:
        return xp.sum(pairs.parameters["weights"]) * power

    record = LossRecord("Own", loss, ("labels",), lambda c, w: {"weights": np.ones((c, w))})
    found = objective(record, loss_options={"power": 2.0})
    assert found.parameters["weights"].shape == (3, 4)
    value, scalars = found(xp, *batch(), found.parameters, 0)
    assert value == 24
    assert set(scalars) == {"positive_distance", "negative_distance"}


def test_the_key_reaches_the_miner(xp: Any) -> None:
    keys = []

    def miner(xp: Any, distances: Any, labels: Any, references: Any, own: Any, key: int) -> Any:
        keys.append(key)
        return Triplets(np.zeros(distances.shape, int), np.zeros(distances.shape, bool))

    record = MinerRecord("own", miner, "triplets")
    make_objective(LOSS["TripletMarginLoss"], DISTANCE["cosine"], record, classes=3, width=4)(
        xp, *batch(), {}, 42
    )
    assert keys == [42]


def test_soft_margin_with_pair_weights_names_the_miners_that_fit() -> None:
    with pytest.raises(
        UsageError,
        match=r"soft_margin=True needs triplets, and miner 'all' yields pair weights: "
        r"choose miner='easy-hard' or miner='hard' or miner='semi-hard'",
    ):
        objective("TripletMarginLoss", "all", loss_options={"soft_margin": True})
    objective("TripletMarginLoss", "hard", loss_options={"soft_margin": True})


def test_a_loss_that_needs_a_miner_names_those_that_fit() -> None:
    with pytest.raises(UsageError, match=r"no miner was chosen: choose miner='all' or"):
        objective("TripletMarginLoss")


def test_a_loss_on_all_pairs_takes_no_miner() -> None:
    with pytest.raises(
        UsageError, match=r"SupConLoss looks at all pairs .* leave miner='hard' out"
    ):
        objective("SupConLoss", "hard")


def test_miner_options_without_a_miner_are_refused() -> None:
    with pytest.raises(UsageError, match=r"miner_options \{'margin': 0.1\} without a miner"):
        objective("SupConLoss", miner_options={"margin": 0.1})


@pytest.mark.parametrize(
    ("loss", "miner", "options", "message"),
    [
        ("SupConLoss", None, {"temperature": 0}, "temperature of SupConLoss is 0"),
        ("NTXentLoss", None, {"temperature": -0.1}, "temperature of NTXentLoss is -0.1"),
        ("NTXentLoss", None, {"temperature": "warm"}, "'temperature' of loss NTXentLoss is 'warm'"),
        ("TripletMarginLoss", "all", {"margin": -1}, "margin of TripletMarginLoss is -1"),
        ("TripletMarginLoss", "hard", {"soft_margin": True, "margin": 0.2}, "has no margin"),
        ("ContrastiveLoss", None, {"neg_margin": -1.0}, "neg_margin=-1.0"),
        ("ContrastiveLoss", None, {"pos_margin": -1.0}, "pos_margin=-1.0"),
        ("ContrastiveLoss", None, {"pos_margin": 2.0}, "pos_margin=2.0, neg_margin=1.0"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(
    loss: str, miner: str | None, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        objective(loss, miner, loss_options=options)


def test_unknown_options_offer_near_names() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'temperature'"):
        objective("SupConLoss", loss_options={"temprature": 0.1})
    with pytest.raises(UnknownNameError, match=r"option of miner all 'margins'.*'margin'"):
        objective("TripletMarginLoss", "all", miner_options={"margins": 0.1})
    with pytest.raises(UsageError, match=r"margin of miner 'all' is -0\.1"):
        objective("TripletMarginLoss", "all", miner_options={"margin": -0.1})


def test_names_are_resolved_with_the_losses_own_defaults() -> None:
    host = Host.discover()
    found = resolve_objective(host, "TripletMarginLoss", classes=3, width=4)
    assert (found.distance.name, found.miner.name) == ("cosine", "all")
    assert (
        resolve_objective(host, "ContrastiveLoss", classes=3, width=4).distance.name == "euclidean"
    )
    for wrong in ({"miner": "semihard"}, {"distance": "cosin"}):
        with pytest.raises(UnknownNameError, match="did you mean"):
            resolve_objective(host, "TripletMarginLoss", classes=3, width=4, **wrong)
    with pytest.raises(UnknownNameError, match="TripletMarginLoss"):
        resolve_objective(host, "TripletMargin", classes=3, width=4)


def test_an_objective_survives_pickling(xp: Any) -> None:
    found = objective("TripletMarginLoss", "all")
    again = pickle.loads(pickle.dumps(found))
    assert again(xp, *batch(), {}, 0)[0] == found(xp, *batch(), {}, 0)[0]


def test_a_distance_of_ones_own_is_used(xp: Any) -> None:
    constant = DistanceRecord("one", lambda xp, a, b: xp.ones_like(a @ b.T))
    record = LossRecord("T", triplet_margin, ("pair_weights",))
    found = make_objective(record, constant, MINER["all"], classes=3, width=4)
    assert found(xp, *batch(), {}, 0)[0] == pytest.approx(0.2)
