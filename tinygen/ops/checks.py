"""Checks that many operators share; each raises a ModelError that names the node."""

from __future__ import annotations

from tinygen.ir import Tensor
from tinygen.ops.spec import Context

ACTIVATIONS = ("int8", "int16")
"""Element types of what layers hand to each other."""
WIDE = ("int16", "int32")
"""Element types of more than 8 bits that hold reals."""
SCALE_RANGE = (1e-30, 1e30)
"""Scales outside it come from damaged files only; inside it, no ratio of two scales leaves the range of float64."""


def arity(context: Context, inputs: tuple[int, int], outputs: tuple[int, int] = (1, 1)) -> None:
    """The node has `inputs` (least, most) inputs, absent ones counted, and `outputs` outputs."""
    for kind, count, (least, most) in (
        ("inputs", len(context.node.inputs), inputs),
        ("outputs", len(context.node.outputs), outputs),
    ):
        if not least <= count <= most:
            expected = str(least) if least == most else f"{least} to {most}"
            raise context.error(f"wrong number of {kind}", found=str(count), expected=expected)


def dtype(context: Context, tensor: Tensor, *allowed: str) -> None:
    """The tensor has one of the `allowed` element types."""
    if tensor.dtype not in allowed:
        raise context.error(
            f"tensor '{tensor.name}' has an element type this operator does not take",
            found=tensor.dtype,
            expected=" or ".join(allowed),
            remedy="convert the model with full integer quantisation to int8",
        )


def per_tensor(context: Context, *tensors: Tensor) -> None:
    """Each tensor has one scale, above zero, and one zero point inside its type's range."""
    for tensor in tensors:
        where = f"tensor '{tensor.name}'"
        quant = tensor.quant
        if quant is None or len(quant.scale) != 1:
            raise context.error(
                f"{where} needs one scale and zero point",
                found=f"{len(quant.scale)} scales" if quant else "no quantisation",
                remedy="convert the model with full integer quantisation (a representative dataset)",
            )
        if not SCALE_RANGE[0] <= quant.scale[0] <= SCALE_RANGE[1]:
            raise context.error(
                f"{where}: scale is out of range",
                found=f"{quant.scale[0]:.6g}",
                expected=f"{SCALE_RANGE[0]:g} to {SCALE_RANGE[1]:g}",
            )
        least, most = {"int8": (-128, 127), "uint8": (0, 255)}.get(tensor.dtype, (-(2**31), 2**31 - 1))
        if not least <= quant.zero_point[0] <= most:
            raise context.error(f"{where}: zero point is out of range", found=str(quant.zero_point[0]))


def int8_tensors(context: Context, *tensors: Tensor) -> None:
    """Each tensor is int8 with one scale and zero point."""
    for tensor in tensors:
        dtype(context, tensor, "int8")
    per_tensor(context, *tensors)


def activations(context: Context, *tensors: Tensor) -> None:
    """All tensors are int8, or all int16 with zero point 0; each has one scale."""
    for tensor in tensors:
        dtype(context, tensor, *ACTIVATIONS)
        dtype(context, tensor, tensors[0].dtype)
    per_tensor(context, *tensors)
    for tensor in tensors:
        symmetric(context, tensor)


def symmetric(context: Context, tensor: Tensor) -> None:
    """Zero point 0 of a type of more than 8 bits, as the format's rules of quantisation say."""
    if tensor.dtype in WIDE and tensor.zero_point != 0:
        raise context.error(
            f"tensor '{tensor.name}': {tensor.dtype} needs zero point 0",
            found=str(tensor.zero_point),
            remedy="convert the model again",
        )


def same_quant(context: Context, first: Tensor, second: Tensor) -> None:
    """Both tensors hold their values at the same scale and zero point (or neither has any)."""
    if first.dtype != second.dtype:
        raise context.error("element types differ", found=f"{first.dtype} and {second.dtype}", expected="the same type")
    if first.quant is None or second.quant is None:
        return
    if (first.quant.scale, first.quant.zero_point) != (second.quant.scale, second.quant.zero_point):
        raise context.error(
            f"'{first.name}' and '{second.name}' must have the same scale and zero point",
            found=f"{first.scale}, {first.zero_point} and {second.scale}, {second.zero_point}",
        )


def rank(context: Context, tensor: Tensor, *ranks: int) -> None:
    """The tensor has one of the given ranks."""
    if len(tensor.shape) not in ranks:
        raise context.error(
            f"tensor '{tensor.name}' has the wrong rank",
            found=f"shape {list(tensor.shape)}",
            expected="rank " + " or ".join(map(str, ranks)),
        )


def shape(context: Context, tensor: Tensor, expected: tuple[int, ...]) -> None:
    """The tensor has exactly the `expected` shape."""
    if tensor.shape != expected:
        raise context.error(
            f"tensor '{tensor.name}' has the wrong shape", found=str(list(tensor.shape)), expected=str(list(expected))
        )


FUSED_ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")
"""The fused activations that only limit the output."""


def fused_activation(context: Context) -> None:
    """The node's fused activation is one that only limits the output."""
    if context.attributes.activation not in FUSED_ACTIVATIONS:
        raise context.error(
            "fused activation is not supported",
            found=context.attributes.activation,
            expected=", ".join(FUSED_ACTIVATIONS),
        )
