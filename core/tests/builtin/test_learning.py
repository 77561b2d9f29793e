from __future__ import annotations

import inspect

import pytest

from finetuner.builtin.learning import DISTANCES, LOSSES, MINERS, POOLINGS, SAMPLERS
from finetuner.plugins.host import Host


@pytest.mark.parametrize(
    ("kind", "records", "names"),
    [
        ("poolings", POOLINGS, {"mean", "max", "cls", "last", "gem"}),
        ("samplers", SAMPLERS, {"class-balanced"}),
        ("distances", DISTANCES, {"cosine", "euclidean", "squared-euclidean"}),
        ("miners", MINERS, {"all", "hard", "semi-hard", "easy-hard"}),
        (
            "losses",
            LOSSES,
            {"TripletMarginLoss", "NTXentLoss", "SupConLoss", "ContrastiveLoss"},
        ),
    ],
)
def test_records_come_through_the_host(kind: str, records: tuple, names: set[str]) -> None:
    host = Host.discover()
    assert {record.name for record in records} == names
    assert names <= set(host.records(kind))
    assert all(host.get(kind, record.name) is record for record in records)


def test_defaults_name_records_that_exist_and_fit() -> None:
    miners = {record.name: record for record in MINERS}
    for loss in LOSSES:
        assert loss.distance in {record.name for record in DISTANCES}
        if loss.miner is not None:
            assert miners[loss.miner].yields in loss.consumes


@pytest.mark.parametrize("record", [*LOSSES, *MINERS, *POOLINGS], ids=lambda record: record.name)
def test_every_option_has_a_default_and_a_documented_function(record) -> None:
    assert record.function.__doc__
    for parameter in inspect.signature(record.function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert parameter.default is not parameter.empty
