"""Which pooling, if any, turns the feature map into one vector."""

from __future__ import annotations

from collections.abc import Mapping

from finetuner.adaptation.exits import Exit
from finetuner.adaptation.features import is_flat
from finetuner.adaptation.flow import Flow
from finetuner.contracts.plan import FeatureMap, PlanOptions, PoolingChoice, Reason
from finetuner.contracts.records import PoolingRecord
from finetuner.errors import ModelError, UnknownNameError, UsageError
from finetuner.plugins.options import check_options

DEFAULT = "mean"
"""Without better evidence every position counts alike."""


def choose_pooling(
    flow: Flow,
    leaving: Exit,
    features: FeatureMap | None,
    options: PlanOptions,
    advice: str | None,
    poolings: Mapping[str, PoolingRecord],
) -> tuple[PoolingChoice | None, Reason]:
    """The pooling asked for, else an adapter's ``advice``, else a mean where one is needed.

    Raises ``UsageError`` where the one asked for does not apply, ``ModelError``
    where one is needed and there is nothing to pool.
    """
    name, why = _name_and_reason(flow, leaving, options, advice)
    if name is None:
        if options.pooling_options:
            raise UsageError(
                f"pooling_options={options.pooling_options} without a pooling to apply them to: "
                "the model's own is kept; name one with pooling="
            )
        return None, Reason("pooling", why)
    if name not in poolings:
        raise UnknownNameError("pooling", name, poolings)
    if features is None:
        raise _nothing_to_pool(flow, leaving, options)
    _check_fit(poolings[name], features, options)
    masked = f", masked by {features.mask}" if features.mask else ""
    place = f"{features.layout} map of width {features.width} at {_place(features)}{masked}"
    return PoolingChoice(name, dict(options.pooling_options)), Reason("pooling", f"{why}: {place}")


def _name_and_reason(
    flow: Flow, leaving: Exit, options: PlanOptions, advice: str | None
) -> tuple[str | None, str]:
    if options.pooling is not None:
        return options.pooling, f"{options.pooling}, as asked"
    if advice is not None:
        return advice, f"{advice}, as the adapter advises"
    if all(is_flat(flow.shape(value)) for value in leaving.values):
        return None, "the model's own is kept: one vector per example leaves it"
    return DEFAULT, f"{DEFAULT}, since a map of many positions leaves the model"


def _nothing_to_pool(flow: Flow, leaving: Exit, options: PlanOptions) -> Exception:
    if options.pooling is not None:
        return UsageError(
            f"pooling={options.pooling!r} does not apply: the model has no map of rank 3 or 4 "
            "through which everything flows to the embedding; leave pooling out"
        )
    shapes = [flow.shape(value) for value in leaving.values]
    return ModelError(
        f"the embedding leaves the model with shape {shapes[0]}, which is neither a vector per "
        "example nor a map that can be pooled; name another layer with embedding_layer="
    )


def _check_fit(record: PoolingRecord, features: FeatureMap, options: PlanOptions) -> None:
    if features.rank not in record.ranks:
        raise UsageError(
            f"pooling {record.name!r} is for maps of rank {_either(record.ranks)}; the feature "
            f"map at {_place(features)} has rank {features.rank}"
        )
    check_options("pooling", record.name, record.function, options.pooling_options, record.check)


def _either(ranks: tuple[int, ...]) -> str:
    return " or ".join(str(rank) for rank in ranks)


def _place(features: FeatureMap) -> str:
    return f"the {features.tap.side} of {features.tap.layer or 'the model'}"
