"""What trains with dropout and moving statistics, and what stays still."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from finetuner.errors import ModelError, UsageError
from finetuner_torch.modes import frozen_modules, set_flags, training_flags


def training(model, **options):
    """Names of the modules that are in training mode during a step."""
    names = {id(module): name for name, module in model.named_modules()}
    return {names[id(module)] for module, on in training_flags(model, **options) if on}


def test_without_dropout_only_running_statistics_are_in_training_mode(cnn):
    assert training(cnn) == {"stem.1", "block.1"}


def test_the_models_own_rates_keep_everything_in_training_mode(cnn):
    assert training(cnn, dropout=None) == {name for name, _ in cnn.named_modules()}
    assert cnn.block[3].p == 0.5


def test_asking_for_flags_changes_no_mode(cnn):
    cnn.eval()
    cnn.stem.train()
    before = [module.training for module in cnn.modules()]
    training_flags(cnn)
    assert [module.training for module in cnn.modules()] == before


def test_flags_are_set_one_by_one(cnn):
    set_flags([(cnn.stem, False)])
    assert not cnn.stem.training
    assert cnn.stem[1].training


def test_a_rate_is_given_to_every_active_dropout():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention_dropout = 0.1
            self.dropout_of_ids = 3

    model = nn.Sequential(Attention(), nn.Dropout(0.3), nn.Dropout(0.0))
    assert training(model, dropout=0.2) == {"", "0", "1", "2"}
    assert (model[0].attention_dropout, model[1].p, model[2].p) == (0.2, 0.2, 0.0)
    assert model[0].dropout_of_ids == 3


def test_frozen_layers_keep_their_own_rate(cnn):
    model = nn.Sequential(
        nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3)), nn.Linear(2, 2), nn.Dropout(0.3)
    )
    training_flags(model, frozen=["0.0"], dropout=0.1)
    assert (model[0][1].p, model[2].p) == (0.3, 0.1)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2.0])
def test_a_rate_outside_its_range_is_refused(cnn, rate):
    with pytest.raises(UsageError, match="at least 0 and below 1"):
        training_flags(cnn, dropout=rate)


def test_a_rate_for_a_model_without_dropout_is_refused():
    with pytest.raises(UsageError, match="no dropout to set"):
        training_flags(nn.Linear(2, 2), dropout=0.1)


def test_dropout_between_frozen_layers_is_off(cnn):
    frozen = ["block.0", "block.1"]
    assert {"block", "block.0", "block.1", "block.2", "block.3"}.isdisjoint(
        training(cnn, frozen=frozen, dropout=None)
    )
    assert {"", "stem", "stem.0", "stem.1", "stem.2", "pool", "fc"} == training(
        cnn, frozen=frozen, dropout=None
    )


def test_dropout_beside_a_layer_that_trains_stays_on(cnn):
    assert "block.3" in training(cnn, frozen=["block.0"], dropout=None)


def test_freezing_a_container_freezes_only_weights_of_its_own():
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(torch.zeros(2))
            self.layer = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))

    assert training(Root(), frozen=[""], dropout=None) == {"", "layer", "layer.0", "layer.1"}


def test_normalisation_without_weights_counts_as_a_layer():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, affine=False))
    assert training(model, frozen=["0"]) == {"1"}
    assert training(model, frozen=["0", "1"]) == set()


def test_a_model_that_overrides_train_is_asked():
    class Stubborn(nn.Sequential):
        def train(self, mode=True):
            super().train(mode)
            self[1].eval()
            return self

    model = Stubborn(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert training(model) == set()


def test_an_unknown_frozen_layer_is_an_error(cnn):
    with pytest.raises(ModelError, match="freezes 'nowhere'"):
        list(frozen_modules(cnn, ["nowhere"]))
