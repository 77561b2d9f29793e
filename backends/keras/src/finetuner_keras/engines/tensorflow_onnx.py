"""Operations of TensorFlow that tf2onnx writes wrongly, or not at all."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np


@cache
def register() -> None:
    """Teach tf2onnx the complementary error function, which exact GELU is made of."""
    from tf2onnx.handler import tf_op

    @tf_op("Erfc")
    class Erfc:
        @classmethod
        def version_9(cls, ctx: Any, node: Any, **kwargs: Any) -> None:
            """1 - erf(x)."""
            dtype, shape = ctx.get_dtype(node.output[0]), ctx.get_shape(node.output[0])
            inputs, outputs = node.input[:], node.output[:]
            ctx.remove_node(node.name)
            erf = ctx.make_node("Erf", inputs, dtypes=[dtype], shapes=[shape])
            one = ctx.make_const(f"{node.name}.one", np.array(1.0, np.float32))
            ctx.make_node(
                "Sub",
                [one.output[0], erf.output[0]],
                outputs=outputs,
                dtypes=[dtype],
                shapes=[shape],
            )
