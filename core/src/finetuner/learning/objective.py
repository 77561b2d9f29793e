"""Distance, miner and loss, joined to what a backend differentiates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finetuner.arrays import Array, ArrayNamespace
from finetuner.contracts import (
    DistanceRecord,
    LossRecord,
    MinerRecord,
    PairBatch,
)
from finetuner.contracts.learning import Consumes
from finetuner.errors import UsageError
from finetuner.learning.losses.reductions import masked_mean
from finetuner.learning.pairs import pairs_of
from finetuner.plugins.options import check_options, keyword_options

if TYPE_CHECKING:
    from finetuner.plugins.host import Host

DISTANCE = "cosine"
"""The distance of losses that name none: what embeddings are searched by."""

_MINED = ("triplets", "pair_weights")


@dataclass(frozen=True)
class References:
    """What anchors are compared with beyond their own batch.

    ``embeddings`` R×D and ``labels`` R. With ``start`` the batch itself stands in
    rows ``start`` to ``start + B`` (gathered from all ranks); without, it is not
    among them (a memory of earlier batches) and is put in front.
    """

    embeddings: Array
    labels: Array
    start: int | None = None


@dataclass(frozen=True)
class MetricObjective:
    """The :class:`~finetuner.contracts.Objective` made of a distance, a miner and a loss.

    Embeddings are lifted to float32 first. Reports, beside what the loss reports,
    ``positive_distance`` and ``negative_distance``: the means over all pairs of
    one class and of two classes.
    """

    loss: LossRecord
    distance: DistanceRecord
    miner: MinerRecord | None
    loss_options: dict[str, Any]
    miner_options: dict[str, Any]
    parameters: dict[str, Any] = field(default_factory=dict)

    def __call__(
        self,
        xp: ArrayNamespace,
        embeddings: Array,
        labels: Array,
        parameters: Mapping[str, Array],
        key: int,
        *,
        references: References | None = None,
    ) -> tuple[Array, dict[str, Array]]:
        """The loss of a batch B×D with B labels, and scalars; see :class:`References`."""
        pairs = self._pairs(xp, embeddings, labels, parameters, key, references)
        outcome = self.loss.function(xp, pairs, **self.loss_options)
        loss, scalars = outcome if isinstance(outcome, tuple) else (outcome, {})
        distances = xp.stop_gradient(pairs.distances)
        return loss, {
            **scalars,
            "positive_distance": masked_mean(xp, distances, pairs.positive),
            "negative_distance": masked_mean(xp, distances, pairs.negative),
        }

    def _pairs(
        self,
        xp: ArrayNamespace,
        embeddings: Array,
        labels: Array,
        parameters: Mapping[str, Array],
        key: int,
        references: References | None,
    ) -> PairBatch:
        anchors = xp.upcast(embeddings)
        others, other_labels, start = _with_references(xp, anchors, labels, references)
        places = xp.arange(others.shape[0], like=anchors)
        own = places[start : start + anchors.shape[0]]
        is_self = xp.expand_dims(own, axis=1) == xp.expand_dims(places, axis=0)
        distances = self.distance.function(xp, anchors, others)
        positive, negative = pairs_of(xp, labels, other_labels, is_self)
        mined = None
        if self.miner is not None:
            mined = self.miner.function(
                xp, distances, labels, other_labels, is_self, key, **self.miner_options
            )
        return PairBatch(
            anchors=anchors,
            references=others,
            labels=labels,
            reference_labels=other_labels,
            is_self=is_self,
            distances=distances,
            positive=positive,
            negative=negative,
            mined=mined,
            parameters=parameters,
        )


def make_objective(
    loss: LossRecord,
    distance: DistanceRecord,
    miner: MinerRecord | None,
    *,
    loss_options: Mapping[str, Any] | None = None,
    miner_options: Mapping[str, Any] | None = None,
    classes: int,
    width: int,
    miners: Iterable[MinerRecord] = (),
) -> MetricObjective:
    """Join the records, with everything about them checked before training.

    ``classes`` and ``width`` size the loss's learnable parameters; ``miners`` are
    the ones to offer where ``miner`` does not fit. A miner with an option
    ``margin`` takes the loss's margin unless ``miner_options`` sets it. Raises
    ``UnknownNameError`` for an unknown option, ``UsageError`` for a value or a
    combination that cannot be used.
    """
    loss_options = check_options("loss", loss.name, loss.function, loss_options or {}, loss.check)
    consumed = loss.narrow(loss_options) if loss.narrow is not None else loss.consumes
    _check_fit(loss, miner, consumed, loss_options, miners)
    return MetricObjective(
        loss=loss,
        distance=distance,
        miner=miner,
        loss_options=loss_options,
        miner_options=_miner_options(loss, miner, loss_options, miner_options or {}),
        parameters=dict(loss.parameters(classes, width)) if loss.parameters is not None else {},
    )


def resolve_objective(
    host: Host,
    loss: str,
    *,
    distance: str | None = None,
    miner: str | None = None,
    loss_options: Mapping[str, Any] | None = None,
    miner_options: Mapping[str, Any] | None = None,
    classes: int,
    width: int,
) -> MetricObjective:
    """As :func:`make_objective`, by names: distance and miner default to the loss's own."""
    chosen: LossRecord = host.get("losses", loss)
    miner = chosen.miner if miner is None else miner
    return make_objective(
        chosen,
        host.get("distances", distance or chosen.distance or DISTANCE),
        host.get("miners", miner) if miner is not None else None,
        loss_options=loss_options,
        miner_options=miner_options,
        classes=classes,
        width=width,
        miners=host.by_name("miners").values(),
    )


def _with_references(
    xp: ArrayNamespace, anchors: Array, labels: Array, references: References | None
) -> tuple[Array, Array, int]:
    """Embeddings and labels to compare with, and where among them the batch starts."""
    if references is None:
        return anchors, labels, 0
    embeddings = xp.upcast(references.embeddings)
    if references.start is not None:
        return embeddings, references.labels, references.start
    return xp.concat([anchors, embeddings]), xp.concat([labels, references.labels]), 0


def _check_fit(
    loss: LossRecord,
    miner: MinerRecord | None,
    consumed: tuple[Consumes, ...],
    options: Mapping[str, Any],
    miners: Iterable[MinerRecord],
) -> None:
    if miner is None and any(kind not in _MINED for kind in consumed):
        return
    if miner is not None and miner.yields in consumed:
        return
    if miner is not None and not any(kind in consumed for kind in _MINED):
        raise UsageError(
            f"loss {loss.name} looks at all pairs of the batch and takes no miner: "
            f"leave miner={miner.name!r} out, or choose a loss that is fed by one"
        )
    wanted = " or ".join(kind.replace("_", " ") for kind in consumed if kind in _MINED)
    setting = ", ".join(f"{name}={value!r}" for name, value in options.items())
    found = (
        "no miner was chosen"
        if miner is None
        else f"miner {miner.name!r} yields {miner.yields.replace('_', ' ')}"
    )
    fitting = sorted(each.name for each in miners if each.yields in consumed)
    raise UsageError(
        f"loss {loss.name}{f' with {setting}' if setting else ''} needs {wanted}, and {found}: "
        f"choose {_either(fitting) if fitting else f'a miner that yields {wanted}'}"
    )


def _either(names: list[str]) -> str:
    return " or ".join(f"miner={name!r}" for name in names)


def _miner_options(
    loss: LossRecord,
    miner: MinerRecord | None,
    loss_options: Mapping[str, Any],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    if miner is None:
        if options:
            raise UsageError(
                f"miner_options {dict(options)} without a miner to apply them to: "
                f"loss {loss.name} uses none, leave them out"
            )
        return {}
    checked = check_options("miner", miner.name, miner.function, options, miner.check)
    defaults = keyword_options(loss.function)
    if "margin" not in keyword_options(miner.function) or "margin" not in defaults:
        return checked
    margin = loss_options.get("margin", defaults["margin"])
    if miner.yields == "pair_weights" and checked.get("margin", margin) != margin:
        raise UsageError(
            f"miner {miner.name!r} has margin={checked['margin']} and loss {loss.name} "
            f"margin={margin}: pair weights need one margin, set it in loss_options alone"
        )
    return {"margin": margin, **checked}
