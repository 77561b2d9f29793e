"""Core's own poolings, samplers, distances, miners and losses, as records."""

from __future__ import annotations

from finetuner.contracts import (
    DistanceRecord,
    LossRecord,
    MinerRecord,
    PoolingRecord,
    SamplerRecord,
)
from finetuner.learning import distances, losses, miners, poolings
from finetuner.learning.samplers import class_balanced

POOLINGS = (
    PoolingRecord("mean", poolings.mean_pooling),
    PoolingRecord("max", poolings.max_pooling),
    PoolingRecord("cls", poolings.cls, ranks=(3,)),
    PoolingRecord("last", poolings.last, ranks=(3,)),
    PoolingRecord(
        "gem", poolings.gem, parameters=poolings.gem_parameters, check=poolings.check_gem
    ),
)

SAMPLERS = (SamplerRecord("class-balanced", class_balanced),)

DISTANCES = (
    DistanceRecord("cosine", distances.cosine),
    DistanceRecord("euclidean", distances.euclidean),
    DistanceRecord("squared-euclidean", distances.squared_euclidean),
)

MINERS = (
    MinerRecord("all", miners.batch_all, "pair_weights", check=miners.check_batch_all),
    MinerRecord("hard", miners.hard, "triplets"),
    MinerRecord("semi-hard", miners.semi_hard, "triplets"),
    MinerRecord("easy-hard", miners.easy_hard, "triplets"),
)

LOSSES = (
    LossRecord(
        "TripletMarginLoss",
        losses.triplet_margin,
        consumes=("pair_weights", "triplets"),
        miner="all",
        distance="cosine",
        check=losses.check_triplet_margin,
        narrow=losses.narrow_triplet_margin,
    ),
    LossRecord(
        "NTXentLoss",
        losses.nt_xent,
        consumes=("pairs",),
        distance="cosine",
        check=losses.check_nt_xent,
    ),
    LossRecord(
        "SupConLoss",
        losses.sup_con,
        consumes=("pairs",),
        distance="cosine",
        check=losses.check_sup_con,
    ),
    LossRecord(
        "ContrastiveLoss",
        losses.contrastive,
        consumes=("pairs",),
        distance="euclidean",
        check=losses.check_contrastive,
    ),
)
