"""What users give, in Python, YAML or on the command line, as typed values."""

from pathlib import Path

import numpy as np
import pytest

from finetuner.contracts import PlanOptions
from finetuner.errors import UsageError
from finetuner.runs.arguments import mapping, part_callbacks, plan_options, run_spec

GIVEN = {"name": "r", "model": "m", "train_data": "t"}


def spec(**given):
    return run_spec(PlanOptions(), **GIVEN, **given)


def test_none_takes_the_default_of_the_field():
    assert spec(epochs=None, loss=None) == spec()


def test_numpys_numbers_and_paths_become_plain_values():
    found = spec(
        epochs=np.int64(2),
        learning_rate=np.float32(0.5),
        store=Path("/s"),
        loss_options={"margin": np.float64(0.25), "weights": np.array([1, 2])},
    )
    assert (found.epochs, type(found.epochs)) == (2, int)
    assert (found.learning_rate, type(found.learning_rate)) == (0.5, float)
    assert found.store == "/s"
    assert found.loss_options == {"margin": 0.25, "weights": [1, 2]}


def test_a_whole_number_is_a_number():
    assert spec(learning_rate=1).learning_rate == 1.0


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("epochs", "three", "epochs is 'three': give a whole number"),
        ("epochs", 1.5, "epochs is 1.5: give a whole number"),
        ("epochs", True, "epochs is True: give a whole number"),
        ("epochs", 0, "epochs is 0: give at least 1"),
        ("learning_rate", "1e-4", "learning_rate is '1e-4': give a finite number"),
        ("learning_rate", 0, "learning_rate is 0: give a number above 0"),
        ("learning_rate", float("nan"), "learning_rate is nan: give a finite number"),
        ("batch_size", -1, "batch_size is -1: give at least 1"),
        ("num_items_per_class", 0, "num_items_per_class is 0: give 2 or more"),
        ("val_split", 1.0, "val_split is 1.0: give the share"),
        ("seed", -1, "seed is -1: give a whole number from 0"),
        ("num_workers", -1, "num_workers is -1: give 0 or more"),
        ("to_onnx", "yes", "to_onnx is 'yes': give true or false"),
        ("description", 3, "description is 3: give text"),
        ("model_options", [1], r"model_options is \[1\]: give a mapping"),
        ("loss_options", {1: 2}, "loss_options has the key 1: give names"),
        ("loss_options", {"margin": float("inf")}, r"loss_options\['margin'\] is inf"),
        ("loss_options", {"a": [object]}, r"loss_options\['a'\]\[0\] is <class 'object'>"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(argument, value, words):
    with pytest.raises(UsageError, match=words):
        spec(**{argument: value})


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("output_dim", 0, "output_dim is 0: give at least 1"),
        ("output_dim", "wide", "output_dim is 'wide': give a whole number"),
        ("normalize", 1, "normalize is 1: give true or false"),
        ("head", [1], r"head is \[1\]: give text or a list of text"),
    ],
)
def test_so_are_options_of_the_plan(argument, value, words):
    with pytest.raises(UsageError, match=words):
        plan_options(**{argument: value})


def test_head_none_keeps_the_head_and_names_come_as_a_tuple():
    assert plan_options(head=None).head is None
    assert plan_options(head=["a", "b"]).head == ("a", "b")


def test_the_name_is_called_as_users_know_it():
    with pytest.raises(UsageError, match=r"^run_name is 7: give text"):
        run_spec(PlanOptions(), **GIVEN | {"name": 7})


def test_a_mapping_is_copied_to_what_json_would_give_back():
    inner = {"size": (2, 3), "path": Path("/a")}
    assert mapping("model_options", {"resize": inner}) == {"resize": {"size": [2, 3], "path": "/a"}}


def test_callbacks_are_names_or_objects_with_a_callbacks_method():
    class Watches:
        def on_step_end(self, event):
            pass

    watches = Watches()
    assert part_callbacks("early-stopping") == (("early-stopping",), [])
    assert part_callbacks(["early-stopping", watches]) == (("early-stopping",), [watches])
    with pytest.raises(UsageError, match="callbacks is 3: give a list"):
        part_callbacks(3)
    with pytest.raises(UsageError, match="none of a callback's methods, on_"):
        part_callbacks([object()])
