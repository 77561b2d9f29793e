"""What layers and operations are, in the graph's vocabulary."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from finetuner.contracts.graph import OperationKind
from finetuner_keras.layers import Layer

_LAYERS: tuple[tuple[OperationKind, tuple[str, ...]], ...] = (
    ("dense", ("Dense", "EinsumDense")),
    (
        "conv",
        ("Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D")
        + ("SeparableConv2D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
    ),
    (
        "norm",
        ("BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization")
        + ("Normalization",),
    ),
    ("l2norm", ("UnitNormalization",)),
    ("embedding", ("Embedding",)),
    (
        "attention",
        ("MultiHeadAttention", "GroupQueryAttention", "Attention", "AdditiveAttention"),
    ),
    ("recurrent", ("RNN", "LSTM", "GRU", "SimpleRNN", "Bidirectional", "ConvLSTM1D")),
    ("recurrent", ("ConvLSTM2D", "ConvLSTM3D")),
    ("softmax", ("Softmax",)),
    (
        "dropout",
        ("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout")
        + ("GaussianDropout", "GaussianNoise"),
    ),
    ("activation", ("ReLU", "LeakyReLU", "PReLU", "ELU")),
    (
        "reshape",
        ("Reshape", "Flatten", "Permute", "RepeatVector", "Identity", "Masking", "ZeroPadding1D")
        + ("ZeroPadding2D", "ZeroPadding3D", "UpSampling1D", "UpSampling2D", "UpSampling3D"),
    ),
    ("select", ("Cropping1D", "Cropping2D", "Cropping3D")),
    (
        "pool",
        tuple(
            f"{scope}{how}Pooling{rank}D"
            for scope in ("", "Global", "Adaptive")
            for how in ("Max", "Average")
            for rank in (1, 2, 3)
        ),
    ),
    ("combine", ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")),
    ("combine", ("Dot",)),
)

_OPERATIONS: dict[OperationKind, str] = {
    "softmax": "Softmax LogSoftmax",
    "activation": "Relu Relu6 Gelu Silu Tanh Sigmoid Elu Selu Celu LeakyRelu Softplus Softsign "
    "HardSigmoid HardSilu HardTanh LogSigmoid Glu Sparsemax Squareplus TanhShrink Threshold",
    "reshape": "Reshape Transpose Squeeze ExpandDims Cast BroadcastTo Flip Roll Ravel Moveaxis "
    "Swapaxes Pad Copy Identity StopGradient Repeat Tile ConvertToTensor SaturateCast View",
    "select": "GetItem Take TakeAlongAxis Split Slice ArraySplit Diagonal Unstack",
    "pool": "Mean Sum Max Min Amax Amin Median Logsumexp AveragePool MaxPool SegmentSum "
    "AdaptiveAveragePool AdaptiveMaxPool",
    "attention": "DotProductAttention",
    "l2norm": "Normalize",
    "norm": "BatchNorm BatchNormalization LayerNorm LayerNormalization RMSNorm RMSNormalization",
}
_NAMED = {name: kind for kind, names in _OPERATIONS.items() for name in names.split()}

PRODUCTS = frozenset({"Matmul", "Einsum", "Tensordot", "Dot", "Inner", "Vecdot"})
CONVOLUTIONS = frozenset({"Conv", "DepthwiseConv", "SeparableConv", "ConvTranspose"})
COMBINING = frozenset(
    {"Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Maximum", "Minimum", "Where"}
    | {"Concatenate", "Stack", "Hstack", "Vstack", "Append", "LogicalAnd", "LogicalOr", "Power"}
)
LOOKUPS = frozenset({"Take", "GetItem"})


def layer_kind(layer: Layer) -> OperationKind | None:
    """The kind of one of Keras's own layers, or of a subclass; ``None`` for any other."""
    if isinstance(layer, layers.TimeDistributed):
        return layer_kind(layer.layer)
    if isinstance(layer, layers.Activation):
        return activation_kind(layer.activation)
    for kind, names in _LAYERS:
        known = tuple(cls for name in names if (cls := getattr(layers, name, None)))
        if isinstance(layer, known):
            return kind
    return None


def activation_kind(activation: Any) -> OperationKind | None:
    """The kind of an activation function; ``None`` for the identity."""
    if activation in (None, keras.activations.linear):
        return None
    name = str(getattr(activation, "__name__", ""))
    return "softmax" if "softmax" in name else "activation"


def operation_kind(name: str, live: int, reads: bool) -> OperationKind:
    """The kind of one of ``keras.ops``, by its class.

    ``live`` counts its operands that come from the model's inputs; ``reads`` says
    whether another operand is a parameter.
    """
    if reads:
        if name in PRODUCTS:
            return "dense"
        if name in CONVOLUTIONS:
            return "conv"
        if name in LOOKUPS:
            return "embedding"
        return "norm" if _NAMED.get(name) == "norm" else "parameter"
    if live > 1 and name in COMBINING | PRODUCTS:
        return "combine"
    return _NAMED.get(name, "other")
