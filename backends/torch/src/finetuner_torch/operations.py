"""What PyTorch's operations are, by name (in-place twins without their underscore)."""

from __future__ import annotations

from collections.abc import Mapping

from finetuner.contracts.graph import OperationKind

CONVOLUTIONS = frozenset(
    {"conv1d", "conv2d", "conv3d", "convolution", "_convolution", "_conv_depthwise2d"}
    | {"conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "mkldnn_convolution"}
    | {"cudnn_convolution", "thnn_conv2d", "slow_conv3d"}
)
NORMS = frozenset(
    {"batch_norm", "native_batch_norm", "cudnn_batch_norm", "instance_norm", "rms_norm"}
    | {"_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "_fused_rms_norm"}
    | {"layer_norm", "native_layer_norm", "group_norm", "native_group_norm"}
)

WEIGHTS: Mapping[str, tuple[str, ...]] = {
    "linear": ("weight", "bias"),
    "addmm": ("self", "mat2"),
    "_addmm_activation": ("self", "mat2"),
    "mm": ("mat2",),
    "matmul": ("other",),
    "bmm": ("mat2",),
    "baddbmm": ("self", "batch2"),
    "addmv": ("self", "mat"),
    "mv": ("self",),
    "inner": ("other",),
    "einsum": (),
    "tensordot": ("other",),
    "cosine_similarity": ("x2",),
    "mkldnn_linear": ("weight", "bias"),
    "embedding": ("weight",),
    "embedding_bag": ("weight",),
    "_embedding_bag": ("weight",),
    "lstm": ("params",),
    "gru": ("params",),
    "rnn_tanh": ("params",),
    "rnn_relu": ("params",),
    "lstm_cell": ("w_ih", "w_hh", "b_ih", "b_hh"),
    "gru_cell": ("w_ih", "w_hh", "b_ih", "b_hh"),
    "rnn_tanh_cell": ("w_ih", "w_hh", "b_ih", "b_hh"),
    "rnn_relu_cell": ("w_ih", "w_hh", "b_ih", "b_hh"),
    **dict.fromkeys(CONVOLUTIONS, ("weight", "bias")),
    **dict.fromkeys(NORMS, ("weight", "bias", "running_mean", "running_var")),
}
"""The arguments that hold weights, of every operation that applies weights to data."""

PRODUCTS = frozenset(
    {"linear", "addmm", "_addmm_activation", "mm", "matmul", "bmm", "baddbmm", "addmv", "mv"}
    | {"inner", "einsum", "tensordot", "cosine_similarity", "mkldnn_linear"}
)
"""Matrix products: dense with a weight, attention or a combination without."""

BIASES: Mapping[str, str] = {
    "addmm": "self",
    "_addmm_activation": "self",
    "baddbmm": "self",
    "addmv": "self",
}
"""Which argument of a product is added instead of multiplied, where it is not "bias"."""

EMBEDDINGS = frozenset({"embedding", "embedding_bag", "_embedding_bag"})
LOOKUPS = frozenset({"index", "index_select", "gather", "take_along_dim"})
RECURRENT = frozenset(
    {"lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "mkldnn_rnn_layer"}
    | {"rnn_tanh_cell", "rnn_relu_cell", "quantized_lstm", "quantized_gru"}
)
ATTENTION = frozenset(
    {"scaled_dot_product_attention", "_native_multi_head_attention", "flex_attention"}
    | {"_scaled_dot_product_flash_attention", "_scaled_dot_product_flash_attention_for_cpu"}
    | {"_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention"}
    | {"_scaled_dot_product_attention_math", "_transformer_encoder_layer_fwd"}
)
QUANTISED: Mapping[str, OperationKind] = {
    "quantized.linear": "dense",
    "quantized.conv": "conv",
    "quantized.batch_norm": "norm",
    "quantized.layer_norm": "norm",
    "quantized.group_norm": "norm",
    "quantized.embedding": "embedding",
    "fbgemm_linear": "dense",
    "onednn.qlinear": "dense",
    "onednn.qconv": "conv",
}
"""Kernels with packed weights, which are no tensors, by the start of their names."""

SHAPE_ONLY = frozenset(
    {"zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like"}
    | {"randint_like", "new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided"}
)
"""Operations whose result depends on their argument's shape alone."""

_KINDS: Mapping[OperationKind, str] = {
    "softmax": "softmax _softmax log_softmax _log_softmax",
    "dropout": "dropout native_dropout feature_dropout alpha_dropout feature_alpha_dropout",
    "activation": "relu relu6 gelu tanh silu mish elu selu celu leaky_relu softplus hardtanh "
    "hardswish hardsigmoid glu log_sigmoid threshold rrelu softshrink hardshrink sigmoid",
    "reshape": "view _unsafe_view reshape _reshape_alias flatten unflatten squeeze unsqueeze "
    "transpose permute t numpy_T mT movedim swapaxes swapdims contiguous to _to_copy clone "
    "detach alias expand expand_as lift_fresh view_as reshape_as type_as float half double "
    "ravel pixel_shuffle pixel_unshuffle roll flip view_as_real view_as_complex adjoint "
    "moveaxis as_strided unfold im2col channel_shuffle native_channel_shuffle "
    "dequantize quantize_per_tensor quantize_per_tensor_dynamic _cast_Float resolve_conj "
    "copy resolve_neg atleast_1d atleast_2d atleast_3d",
    "select": "select slice index index_select gather narrow split split_with_sizes chunk "
    "unbind tensor_split masked_select take take_along_dim diagonal unsafe_split unsafe_chunk",
    "pool": "mean sum amax amin max min logsumexp nanmean median avg_pool1d avg_pool2d "
    "avg_pool3d max_pool1d max_pool2d max_pool3d max_pool2d_with_indices "
    "max_pool3d_with_indices adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
    "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d "
    "adaptive_max_pool3d fractional_max_pool2d segment_reduce",
}
NAMED: Mapping[str, OperationKind] = {n: k for k, names in _KINDS.items() for n in names.split()}
"""Kinds of operations without weights, by name."""

COMBINING = frozenset(
    {"add", "sub", "rsub", "mul", "div", "cat", "concat", "stack", "maximum", "minimum", "where"}
    | {"addcmul", "addcdiv", "lerp", "hstack", "vstack", "concatenate", "masked_fill", "pow"}
    | {"alias", "index_put", "scatter", "scatter_add", "index_add", "atan2", "multiply"}
    | {"cumsum_add", "__and__", "__or__", "logical_and", "logical_or", "bitwise_and", "baddbmm"}
    | {"scatter_reduce", "index_copy", "slice_scatter", "select_scatter", "masked_scatter"}
)
"""Operations that join tensors: combinations where several of them carry data."""


def base_name(name: str) -> str:
    """An operation's name without the underscore of its in-place twin."""
    return name if name.startswith("__") else name.rstrip("_")


def quantised_kind(name: str) -> OperationKind | None:
    """The kind of a kernel with packed weights."""
    return next((kind for start, kind in QUANTISED.items() if name.startswith(start)), None)
