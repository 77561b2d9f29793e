"""The graph of small models, worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from finetuner.contracts import ModelGraph, Parameter, Tensor
from finetuner.errors import ModelError
from finetuner_torch.trace import trace

VECTORS = {"array": np.zeros((2, 8), np.float32)}
SEQUENCE = {"array": np.zeros((2, 5, 8), np.float32)}


def _kinds(graph: ModelGraph, *, leave_out: tuple[str, ...] = ()) -> list[str]:
    return [o.kind for o in graph.operations if o.kind not in leave_out]


def _net(forward: Any, **members: Any) -> nn.Module:
    """A module whose ``forward`` is the function, with these submodules and parameters."""
    net = type("Net", (nn.Module,), {"forward": forward})()
    for name, member in members.items():
        setattr(net, name, nn.Parameter(member) if type(member) is torch.Tensor else member)
    return net


def _reached(graph: ModelGraph) -> set[int]:
    """Operations behind the primary output."""
    reached: set[int] = set()
    front = [graph.outputs[0][1]]
    while front:
        operation = graph.producer.get(front.pop())
        if operation is not None and operation.index not in reached:
            reached.add(operation.index)
            front.extend(operation.inputs)
    return reached


def _kinds_of(forward: Any, sample: Any = VECTORS, **members: Any) -> list[str]:
    return _kinds(trace(_net(forward, **members), sample))


def test_a_feed_forward_net() -> None:
    graph = trace(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3, bias=False)), VECTORS)

    assert graph.framework == "torch"
    assert graph.inputs == (("array", 0),)
    assert graph.outputs == (("0", 3),)
    assert graph.tensors == (
        Tensor(0, (2, 8), "float32"),
        Tensor(1, (2, 4), "float32"),
        Tensor(2, (2, 4), "float32"),
        Tensor(3, (2, 3), "float32"),
    )
    assert [(o.index, o.name, o.kind, o.layer, o.inputs, o.outputs) for o in graph.operations] == [
        (0, "linear", "dense", "0", (0,), (1,)),
        (1, "relu", "activation", "1", (1,), (2,)),
        (2, "linear", "dense", "2", (2,), (3,)),
    ]
    assert [o.parameters for o in graph.operations] == [("0.weight", "0.bias"), (), ("2.weight",)]
    assert [(c.layer, c.inputs, c.outputs, c.first, c.last) for c in graph.calls] == [
        ("", (0,), (3,), 0, 2),
        ("0", (0,), (1,), 0, 0),
        ("1", (1,), (2,), 1, 1),
        ("2", (2,), (3,), 2, 2),
    ]


def test_a_convolutional_net_with_its_statistics() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(4, 3),
        nn.Softmax(-1),
    )
    model[0].requires_grad_(False)

    graph = trace(model, {"image": np.zeros((2, 3, 8, 8), np.float32)})

    names = ["conv", "norm", "activation", "pool", "pool", "reshape", "dropout", "dense", "softmax"]
    assert _kinds(graph) == names
    assert graph.layer["0"].parameters == (
        Parameter("0.weight", (4, 3, 3, 3), "float32", trainable=False),
    )
    statistics = {p.name: p.statistic for p in graph.layer["1"].parameters}
    assert statistics == {
        "1.weight": False,
        "1.bias": False,
        "1.running_mean": True,
        "1.running_var": True,
        "1.num_batches_tracked": True,
    }
    assert graph.tensor[graph.operations[0].outputs[0]].shape == (2, 4, 6, 6)


def test_depth_follows_the_data_and_not_the_registration() -> None:
    model = _net(
        lambda self, x: self.first(self.second(self.third(x))),
        first=nn.Linear(8, 3),
        second=nn.Linear(8, 8),
        third=nn.Linear(8, 8),
        unused=nn.Linear(1, 1),
    )

    graph = trace(model, VECTORS)

    assert graph.depth == ("third", "second", "first", "unused")
    assert [layer.name for layer in graph.layers] == ["third", "second", "first", "unused", ""]


def test_a_module_called_twice_has_two_calls() -> None:
    graph = trace(_net(lambda self, x: self.fc(self.fc(x)), fc=nn.Linear(8, 8)), VECTORS)

    assert [(o.layer, o.call) for o in graph.operations] == [("fc", 0), ("fc", 1)]
    assert [(c.layer, c.call) for c in graph.calls] == [("", 0), ("fc", 0), ("fc", 1)]


def test_a_module_that_fails_inside_a_try_leaves_the_stack_right() -> None:
    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        try:
            self.wrong(x)
        except RuntimeError:
            x = self.right(x)
        return x + 1

    model = _net(forward, wrong=nn.Linear(7, 7), right=nn.Linear(8, 2))
    graph = trace(model, VECTORS)

    assert [o.layer for o in graph.operations] == ["right", ""]


@pytest.mark.parametrize(
    ("forward", "names"),
    [
        (lambda self, x: x, ["0"]),
        (lambda self, x: (x, None, [x * 2]), ["0", "2.0"]),
        (lambda self, x: {"hidden": x, "logits": x * 2}, ["logits", "hidden"]),
        (lambda self, x: Output(x, (x * 2,)), ["embedding", "others.0"]),
    ],
)
def test_outputs_have_names_and_logits_come_first(forward: Any, names: list[str]) -> None:
    assert [name for name, _ in trace(_net(forward), VECTORS).outputs] == names


@dataclass
class Output:
    embedding: torch.Tensor
    others: tuple[torch.Tensor, ...]


@pytest.mark.parametrize(
    ("result", "words"), [(None, "None"), ({"loss": 3.0}, "a dict"), ((), "an empty tuple")]
)
def test_an_output_without_a_tensor_is_an_error(result: Any, words: str) -> None:
    with pytest.raises(ModelError, match=f"Net returned {words}, which holds no tensor"):
        trace(_net(lambda self, x: result), VECTORS)


def test_inputs_that_do_not_fit_are_an_error_with_both_causes() -> None:
    with pytest.raises(ModelError, match=r"array \(2, 8\).*With data: .*2x8.*Without data: "):
        trace(nn.Linear(7, 2), VECTORS)


def test_a_lazy_layer_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"without a shape yet \(0\.weight, 0\.bias\)"):
        trace(nn.Sequential(nn.LazyLinear(3)), VECTORS)


def test_facts_name_class_library_version_and_json_configuration() -> None:
    model = nn.Linear(8, 2)
    model.config = {"depth": 3, "sizes": (1, 2), "labels": {0: "a"}, "dtype": torch.float32}

    facts = trace(model, VECTORS).facts

    assert facts == {
        "class": "Linear",
        "library": "torch",
        "version": torch.__version__,
        "config": {"depth": 3, "sizes": [1, 2], "labels": {"0": "a"}},
    }


def test_inline_weights_and_biases_are_one_dense_operation() -> None:
    graph = trace(
        _net(lambda self, x: x @ self.w.t().float() + self.b, w=torch.ones(3, 8), b=torch.ones(3)),
        VECTORS,
    )

    assert [(o.kind, o.parameters) for o in graph.operations] == [("dense", ("w", "b"))]


def test_a_bias_added_elsewhere_stays_an_operation_of_its_own() -> None:
    graph = trace(
        _net(lambda self, x: self.fc(x) + self.b, fc=nn.Linear(8, 3, False), b=torch.ones(3)),
        VECTORS,
    )

    assert [(o.kind, o.parameters) for o in graph.operations] == [
        ("dense", ("fc.weight",)),
        ("parameter", ("b",)),
    ]


def test_tied_weights_belong_to_the_module_that_has_them_first() -> None:
    model = _net(
        lambda self, input_ids: self.out(self.table(input_ids)),
        table=nn.Embedding(10, 4),
        out=nn.Linear(4, 10, bias=False),
    )
    model.out.weight = model.table.weight

    graph = trace(model, {"input_ids": np.zeros((2, 3), np.int64)})

    assert [(o.kind, o.layer, o.parameters) for o in graph.operations] == [
        ("embedding", "table", ("table.weight",)),
        ("dense", "out", ("table.weight",)),
    ]
    assert graph.layer["out"].parameters == ()
    assert graph.depth == ("table",)


def test_an_old_weight_norm_reads_direction_and_length() -> None:
    with pytest.warns(FutureWarning):
        model = torch.nn.utils.weight_norm(nn.Linear(8, 3))

    (operation,) = trace(model, VECTORS).operations

    assert operation.kind == "dense"
    assert operation.parameters == ("weight_v", "weight_g", "bias")


def test_a_parametrised_weight_norm_reads_the_originals() -> None:
    model = nn.Sequential(torch.nn.utils.parametrizations.weight_norm(nn.Linear(8, 3)))

    (operation,) = trace(model, VECTORS).operations

    assert operation.layer == "0"
    assert operation.parameters == (
        "0.parametrizations.weight.original1",
        "0.parametrizations.weight.original0",
        "0.bias",
    )


@pytest.mark.parametrize(
    "spectral_norm",
    [torch.nn.utils.spectral_norm, torch.nn.utils.parametrizations.spectral_norm],
    ids=["old", "parametrised"],
)
def test_spectral_norm_iterates_statistics(spectral_norm: Any) -> None:
    graph = trace(spectral_norm(nn.Linear(8, 3)), VECTORS)

    (operation,) = graph.operations
    holders = [p for layer in graph.layers for p in layer.parameters]
    assert operation.kind == "dense"
    assert sum(p.statistic for p in holders) == 2
    assert set(operation.parameters) == {p.name for p in holders}


def test_a_low_rank_adapter_is_part_of_the_weight() -> None:
    graph = trace(
        _net(
            lambda self, x: F.linear(x, self.w + self.b @ self.a),
            w=torch.ones(3, 8),
            a=torch.ones(2, 8),
            b=torch.ones(3, 2),
        ),
        VECTORS,
    )

    assert [(o.kind, o.parameters) for o in graph.operations] == [("dense", ("w", "b", "a"))]


def test_a_learned_query_is_data_and_not_a_weight() -> None:
    model = _net(
        lambda self, x: self.pool(self.proj(self.query).expand(len(x), -1, -1), x, x)[0],
        query=torch.ones(1, 1, 8),
        proj=nn.Linear(8, 8),
        pool=nn.MultiheadAttention(8, 2, batch_first=True),
    )

    graph = trace(model, SEQUENCE)

    projection = graph.operations[0]
    assert (projection.kind, projection.layer, projection.inputs) == ("dense", "proj", ())
    assert projection.parameters == ("query", "proj.weight", "proj.bias")
    assert _kinds(graph).count("attention") == 2
    assert _kinds(graph).count("dense") == 4


def test_positions_looked_up_by_constants_are_an_embedding() -> None:
    graph = trace(
        _net(
            lambda self, x: x + self.table(torch.arange(x.shape[1])),
            table=nn.Embedding(5, 8),
        ),
        SEQUENCE,
    )

    assert _kinds(graph) == ["embedding", "combine"]
    assert graph.operations[0].inputs == ()


def test_a_class_token_and_positions_are_parameters_that_data_meets() -> None:
    graph = trace(
        _net(
            lambda self, x: torch.cat([self.token.expand(len(x), 1, 8), x], 1) + self.positions,
            token=torch.ones(1, 1, 8),
            positions=torch.ones(1, 6, 8),
        ),
        SEQUENCE,
    )

    assert [(o.kind, o.parameters) for o in graph.operations] == [
        ("parameter", ("token",)),
        ("parameter", ("positions",)),
    ]


def _rms(self: Any, x: torch.Tensor) -> torch.Tensor:
    h = x.float()
    h = h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6)
    return self.w * h.to(x.dtype)


def _layer_norm(self: Any, x: torch.Tensor) -> torch.Tensor:
    mean, std = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
    return self.w * (x - mean) / (std + 1e-6) + self.b


def test_normalisations_spelt_out_are_recognised() -> None:
    assert _kinds_of(_rms, w=torch.ones(8))[-2:] == ["norm", "norm"]
    spelt = trace(_net(_layer_norm, w=torch.ones(8), b=torch.ones(8)), VECTORS)
    assert [o.kind for o in spelt.operations][-2:] == ["norm", "norm"]
    assert spelt.operations[-1].parameters == ("b",)


@pytest.mark.parametrize(
    "module",
    [nn.LayerNorm(8), nn.RMSNorm(8), nn.BatchNorm1d(8), nn.GroupNorm(2, 8), nn.LayerNorm(8, 1e-5)],
)
def test_normalisation_layers_are_norms(module: nn.Module) -> None:
    assert _kinds(trace(module, VECTORS)) == ["norm"]


@pytest.mark.parametrize(
    "normalise",
    [
        lambda x: F.normalize(x),
        lambda x: F.normalize(x, dim=-1, eps=1e-6),
        lambda x: x / x.norm(dim=1, keepdim=True),
        lambda x: x / x.norm(p=2, dim=-1, keepdim=True).clamp(min=1e-9),
        lambda x: x / torch.linalg.vector_norm(x, dim=1, keepdim=True),
        lambda x: x / (x * x).sum(1, keepdim=True).sqrt(),
        lambda x: x * torch.rsqrt(x.square().sum(1, keepdim=True) + 1e-12),
        lambda x: x / torch.sqrt((x**2).sum(-1, keepdim=True)),
    ],
)
def test_division_by_the_length_is_an_l2_normalisation(normalise: Any) -> None:
    assert _kinds_of(lambda self, x: normalise(x))[-1] == "l2norm"


@pytest.mark.parametrize(
    "other",
    [
        lambda x: x / x.norm(),
        lambda x: x / x.norm(p=1, dim=1, keepdim=True),
        lambda x: x / x.norm(dim=0, keepdim=True),
        lambda x: x / x.sum(1, keepdim=True),
        lambda x: x * x.norm(dim=1, keepdim=True),
        lambda x: (x + 1) / x.tanh().norm(dim=1, keepdim=True),
    ],
)
def test_other_divisions_are_not(other: Any) -> None:
    assert _kinds_of(lambda self, x: other(x))[-1] == "combine"


def test_a_cosine_classifier_normalises_and_multiplies() -> None:
    graph = trace(
        _net(
            lambda self, x: 16 * F.linear(F.normalize(x), F.normalize(self.w)), w=torch.ones(3, 8)
        ),
        VECTORS,
    )

    *_, normalised, dense, scaled = graph.operations
    assert (normalised.kind, dense.kind, scaled.kind) == ("l2norm", "dense", "other")
    assert dense.parameters == ("w",)
    assert dense.inputs == normalised.outputs


def test_attention_written_out_is_attention() -> None:
    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        scores = x @ x.transpose(1, 2) / 8**0.5
        return F.dropout(scores.softmax(-1), 0.1, self.training) @ x

    assert [k for k in _kinds_of(forward, SEQUENCE) if k not in ("reshape", "dropout")] == [
        "attention",
        "other",
        "softmax",
        "attention",
    ]


def test_fused_attention_is_attention() -> None:
    kinds = _kinds_of(lambda self, x: F.scaled_dot_product_attention(x, x, x), SEQUENCE)

    assert kinds == ["attention"]


@pytest.mark.parametrize("module", [nn.LSTM(8, 4), nn.GRU(8, 4), nn.RNN(8, 4)])
def test_recurrent_layers_are_one_operation(module: nn.Module) -> None:
    graph = trace(module, SEQUENCE)

    assert _kinds(graph) == ["recurrent"]
    assert graph.operations[0].parameters == tuple(name for name, _ in module.named_parameters())
    assert len(graph.outputs) == (3 if isinstance(module, nn.LSTM) else 2)


@pytest.mark.parametrize(
    ("forward", "kind"),
    [
        (lambda self, x: x[:, 0], "select"),
        (lambda self, x: x.mean(1), "pool"),
        (lambda self, x: torch.cat([x, x * 2], 1), "combine"),
        (lambda self, x: x.transpose(0, 1), "reshape"),
        (lambda self, x: x.half(), "reshape"),
        (lambda self, x: x * 2, "other"),
        (lambda self, x: x * self.scale, "parameter"),
        (lambda self, x: F.log_softmax(x, -1), "softmax"),
        (lambda self, x: x.sigmoid(), "softmax"),
    ],
)
def test_the_last_operation_is_of_its_kind(forward: Any, kind: str) -> None:
    assert _kinds_of(forward, SEQUENCE, scale=torch.ones(()))[-1] == kind


def test_a_sigmoid_before_the_output_turns_logits_into_scores() -> None:
    assert _kinds_of(lambda self, x: x.sigmoid().flatten()) == ["softmax", "reshape"]


def test_a_sigmoid_that_gates_is_an_activation() -> None:
    assert _kinds_of(lambda self, x: x * x.sigmoid()) == ["activation", "combine"]


def test_writes_into_parts_of_a_tensor_reach_the_whole() -> None:
    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        result = x.new_zeros(2, 6)
        result[:, :3] = self.left(x)
        result[:, 3:] = self.right(x)
        return result.data

    graph = trace(_net(forward, left=nn.Linear(8, 3), right=nn.Linear(8, 3)), VECTORS)

    assert {"left", "right"} <= {graph.operations[index].layer for index in _reached(graph)}


def test_an_in_place_change_is_a_new_value() -> None:
    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        hidden = self.fc(x)
        alias = hidden.view(-1)
        hidden.relu_()
        return alias

    graph = trace(_net(forward, fc=nn.Linear(8, 3)), VECTORS)
    last = graph.operations[-1]

    assert graph.outputs == (("0", last.outputs[0]),)
    made = {o.name: o.outputs[0] for o in graph.operations}
    assert made["relu_"] in last.inputs


def test_detach_data_and_contiguous_keep_the_connection() -> None:
    graph = trace(
        _net(lambda self, x: self.fc(x.detach().data.contiguous()).data, fc=nn.Linear(8, 3)),
        VECTORS,
    )

    assert {"reshape", "dense"} == set(_kinds(graph))
    assert _reached(graph) == set(range(len(graph.operations)))


class Clamp(torch.autograd.Function):
    """A custom function, as quantisation-aware models have them."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x.clamp(0)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


@pytest.mark.parametrize(
    "apply",
    [
        lambda fc, x: Clamp.apply(fc(x)),
        lambda fc, x: checkpoint(fc, x, use_reentrant=True).clamp(0),
        lambda fc, x: checkpoint(fc, x, use_reentrant=False).clamp(0),
    ],
    ids=["custom function", "reentrant checkpoint", "checkpoint"],
)
def test_autograd_machinery_is_traced_through(apply: Any) -> None:
    graph = trace(
        _net(
            lambda self, x: self.head(apply(self.fc, x)), fc=nn.Linear(8, 4), head=nn.Linear(4, 2)
        ),
        VECTORS,
    )

    assert _kinds(graph) == ["dense", "other", "dense"]
    assert graph.operations[1].inputs == graph.operations[0].outputs


@pytest.mark.parametrize("mode", ["wrapped", "inside", "in place"])
def test_compiled_modules_are_traced_as_written(mode: str) -> None:
    inner = nn.Sequential(nn.Linear(8, 4), nn.ReLU())
    model: nn.Module = nn.Sequential(inner, nn.Linear(4, 2))
    if mode == "wrapped":
        model = torch.compile(model)
    elif mode == "inside":
        model[0] = torch.compile(inner)
    else:
        model.compile()

    assert _kinds(trace(model, VECTORS)) == ["dense", "activation", "dense"]


def test_a_padded_transformer_encoder_is_traced_operation_by_operation() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = _net(
        lambda self, x: self.encoder(x, src_key_padding_mask=x[..., 0] > 0),
        encoder=nn.TransformerEncoder(layer, 2),
    ).eval()

    graph = trace(model, SEQUENCE)

    kinds = _kinds(graph)
    assert kinds.count("attention") == 2
    assert kinds.count("dense") == 2 * 4
    assert kinds.count("norm") == 2 * 2
    assert torch.backends.mha.get_fastpath_enabled()
