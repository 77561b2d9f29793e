"""``finetuner.contracts.Backend`` for scikit-learn: its half about models.

The half that trains is the reference's, which asks of a model ``forward`` and ``backward``.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import sklearn
from onnx import helper

from finetuner import contracts, reference
from finetuner.errors import ModelError, UnknownNameError
from finetuner_sklearn.chain import READABLE, Chain, Step, read

KINDS = {"affine": "parameter", "linear": "dense", "softmax": "softmax"}
NODES = {"affine": "Gemm", "linear": "Gemm", "relu": "Relu", "tanh": "Tanh"}
NODES |= {"logistic": "Sigmoid", "softmax": "Softmax", "l2norm": "LpNormalization"}


class SklearnBackend(reference.NumpyTraining):
    name = framework = "sklearn"

    def recognises(self, model: object) -> bool:
        return isinstance(model, READABLE)

    def load(self, source: object, options: Any) -> contracts.LoadedModel:
        if not self.recognises(source):
            raise ModelError(
                f"{source!r} is no model of this backend. A file of one is a pickle, which runs "
                "code when it is read: load it yourself and give the model"
            )
        read(source)
        return contracts.LoadedModel(source, self.name)

    def trace(self, model: Any, sample: contracts.Inputs) -> contracts.ModelGraph:
        if len(sample) != 1:
            raise ModelError(f"a scikit-learn model has one input, not {sorted(sample)}")
        chain = Chain(*read(model), *sample, model.n_features_in_)
        held = {n: contracts.Parameter(n, a.shape, "float64") for n, a in chain.parameters.items()}
        steps = []
        for layer, operation, weights in chain.steps:
            kind, parameters = KINDS.get(operation, "activation"), tuple(map(held.get, weights))
            steps.append(reference.ChainStep(layer, "Layer", operation, kind, parameters))
        shapes = [value.shape for value in chain.forward(chain.parameters, sample)]
        facts = {"class": type(model).__name__, "library": "sklearn"}
        facts |= {"version": sklearn.__version__, "config": {}}
        return reference.chain_graph(
            self.framework, steps, shapes, input=chain.input, output="output", facts=facts
        )

    def adapt(self, model: Any, plan: contracts.AdaptationPlan, *, seed: int = 0) -> Chain:
        steps, parameters = read(model)
        layers = [step.layer for step in steps]
        reference.check_chain_plan(plan, self.framework, layers)
        steps = steps[: reference.steps_before(plan.taps[0], layers)]
        chain = Chain(steps, parameters, plan.inputs[0], model.n_features_in_)
        if _width(chain) != plan.width:
            raise ModelError(f"the plan's width is {plan.width}, the model's is {_width(chain)}")
        if plan.output_dim:
            projection = Step("projection", "linear", ("projection.weight", "projection.bias"))
            weights = reference.fresh_projection(plan.width, plan.output_dim, seed)
            parameters |= zip(projection.weights, weights, strict=True)
            steps += (projection,)
        steps += (Step("", "l2norm"),) if plan.normalize else ()
        return _part(chain, steps, frozen=frozenset(plan.freeze.frozen))

    def split(self, model: Chain, at: str) -> tuple[Chain, Chain]:
        layers = [step.layer for step in model.steps]
        if not at or at not in layers:
            raise UnknownNameError("layer", at, {*layers} - {""})
        cut = reference.steps_before(contracts.Tap(at), layers)
        prefix = _part(model, model.steps[:cut], only_evaluated=True)
        return prefix, _part(model, model.steps[cut:], input="prefix", width=_width(prefix))

    def export(self, state: Any, path: Path, inputs: Any, sample: contracts.Inputs) -> None:
        chain, asked = state.model, [spec.name for spec in inputs]
        if asked != [chain.input]:
            raise ModelError(f"the model takes the input {chain.input!r}, not {asked}")
        between = [f"value.{number}" for number in range(1, len(chain.steps))]
        names = [chain.input, *between, "embedding"]
        nodes = [
            helper.make_node(NODES[step.operation], [before, *step.weights], [after])
            for step, before, after in zip(chain.steps, names, names[1:], strict=False)
        ]
        weights = [
            onnx.numpy_helper.from_array(state.parameters[name].astype(np.float32), name)
            for name in chain.parameters
        ]
        ends = [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", width])
            for name, width in ((chain.input, chain.width), ("embedding", None))
        ]
        graph = helper.make_graph(nodes, "embedding", ends[:1], ends[1:], weights)
        opset = helper.make_opsetid("", 18)
        onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)


def _width(chain: Chain) -> int:
    """The width of what the chain gives, found by a run."""
    zeros = {chain.input: np.zeros((1, chain.width))}
    return chain.forward(chain.parameters, zeros)[-1].shape[1]


def _part(chain: Chain, steps: tuple[Step, ...], **changes: Any) -> Chain:
    """The chain with these steps, and their parameters only."""
    parameters = {n: chain.parameters[n] for step in steps for n in step.weights}
    return replace(chain, steps=steps, parameters=parameters, **changes)
