"""The entry point: records of functions that import nothing but core."""

from __future__ import annotations

from collections.abc import Iterator

from finetuner.contracts import FreezingRecord, MinerRecord, PoolingRecord
from finetuner.plugins import hookimpl


@hookimpl
def finetuner_poolings() -> Iterator[PoolingRecord]:
    from finetuner_extras.pooling import check_sharpness, log_sum_exp

    yield PoolingRecord("lse", log_sum_exp, check=check_sharpness)


@hookimpl
def finetuner_miners() -> Iterator[MinerRecord]:
    from finetuner_extras.miner import easy_semi_hard

    yield MinerRecord("easy-semi-hard", easy_semi_hard, yields="triplets")


@hookimpl
def finetuner_freezing() -> Iterator[FreezingRecord]:
    from finetuner_extras.freezing import surgical

    usage = "surgical:K/N: only the K-th of N blocks of the depth trains"
    yield FreezingRecord("surgical", surgical, usage)
