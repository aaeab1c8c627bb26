"""MAXIMUM: the larger of two elements, compared as they are stored; int8, int16, int32, and int64 when constant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import elementwise, pixelwise
from tinygen.ops.spec import Context, Kernel, OpSpec, elementwise_cost, no_attributes


def check(context: Context) -> None:
    """Types and shapes; the reference compares stored values whatever their scales, so scales are not asked for."""
    elementwise.check(context, quantised=False)


def operator(name: str, tflite: str, choose: Callable[[Array, Array], Array], sign: str) -> OpSpec:
    """The record of MAXIMUM or MINIMUM; the first element wins when it is `sign` (> or <) the second."""

    def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
        return [np.asarray(choose(inputs[0], inputs[1]))]

    def params(context: Context) -> Kernel:
        table = elementwise.table_kernel(context, reference)
        if table is not None:
            return table
        values = {"title": name.capitalize(), "sign": sign}
        return elementwise.kernel(context, {**elementwise.values(context), **values})

    variants = elementwise.variants("kernels/maximum.c.j2")
    return OpSpec(
        name,
        tflite,
        no_attributes,
        check,
        reference,
        params,
        elementwise_cost,
        variants,
        pixelwise=pixelwise.of_activations,
    )


SPEC = operator("maximum", "MAXIMUM", np.maximum, ">")
