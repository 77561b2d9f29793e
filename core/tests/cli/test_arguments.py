import pytest

from finetuner.cli.arguments import fit_arguments, pairs, read_config
from finetuner.errors import UnknownNameError, UsageError


def test_flags_win_over_pairs_and_pairs_over_the_file(tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text("model: a\ntrain_data: t.csv\nepochs: 1\nseed: 1\nbatch_size: 8\n")
    found = fit_arguments(config, ["seed=2", "epochs=2"], {"epochs": 3, "loss": None})
    assert found == {
        "model": "a",
        "train_data": "t.csv",
        "epochs": 3,
        "seed": 2,
        "batch_size": 8,
    }


def test_values_are_yaml_and_dots_nest():
    assert pairs(["loss_options.margin=0.2", "normalize=false", "head=[a, b]"]) == {
        "loss_options": {"margin": 0.2},
        "normalize": False,
        "head": ["a", "b"],
    }


def test_a_number_may_have_an_exponent():
    assert pairs(["learning_rate=1e-4"]) == {"learning_rate": 1e-4}


@pytest.mark.parametrize("text", ["margin", "=1", "a=[1"])
def test_a_pair_that_cannot_be_read_is_named(text):
    with pytest.raises(UsageError):
        pairs([text])


def test_a_value_cannot_hold_options_too():
    with pytest.raises(UsageError, match="loss_options was already given the value 3"):
        pairs(["loss_options=3", "loss_options.margin=0.2"])


def test_an_unknown_argument_offers_near_ones():
    with pytest.raises(UnknownNameError, match="did you mean 'learning_rate'"):
        fit_arguments(None, ["learning_rte=1"], {"model": "m", "train_data": "t"})


def test_model_and_data_are_needed():
    with pytest.raises(UsageError, match="no train_data was given"):
        fit_arguments(None, [], {"model": "m"})


@pytest.mark.parametrize(("text", "words"), [("a: [", "cannot read"), ("- a", "holds a list")])
def test_a_bad_configuration_is_named(tmp_path, text, words):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        read_config(path)
