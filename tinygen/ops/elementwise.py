"""What elementwise operators share: scales, broadcasting, loops, and tables where one of two inputs decides all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import CTYPES, DTYPES, Array, Tensor
from tinygen.ops import checks, lookup, overlap
from tinygen.ops.spec import Context, Kernel, Options, Overlap, Variant
from tinygen.quant import Numerics

MAX_RANK = 8
"""Of inputs and output; one loop index for each axis."""
MAX_SHIFT = 30
"""The largest shift of `tg_requantize`."""

Reference = Callable[[Context, Sequence[Any]], list[Array]]
"""`reference` of an OpSpec; it must take arrays of any shapes that broadcast, whatever the node's tensors."""

_INDICES = "ijklmnpq"
_LOADS = {"int8": "tg_load_s8", "int16": "tg_load_s16", "int32": "tg_load_s32"}


@dataclass(frozen=True)
class Activated:
    """Attributes of an operator whose only option is a fused activation."""

    activation: str


def read(options: Options) -> Activated:
    """Attributes from the file's options."""
    return Activated(options.choice("fusedActivationFunction", quant.ACTIVATIONS))


def check(context: Context, quantised: bool = True) -> None:
    """Two inputs and an output of one type, shapes that broadcast; int8 or int16 with scales if `quantised`.

    Also int32, and int64 for shape arithmetic: both inputs must then be known at compile time.
    """
    checks.arity(context, (2, 2))
    tensors = (context.input(0), context.input(1), context.output)
    known = all(tensor.data is not None for tensor in tensors[:2])
    for tensor in tensors:
        checks.dtype(context, tensor, *checks.ACTIVATIONS, "int32", *(("int64",) if known else ()))
    if len({tensor.dtype for tensor in tensors}) != 1:
        raise context.error(
            "element types differ", found=", ".join(tensor.dtype for tensor in tensors), expected="the same type"
        )
    if quantised and is_quantised(context):
        checks.activations(context, *tensors)
    _check_shapes(context, tensors[:2])


def _check_shapes(context: Context, inputs: Sequence[Tensor]) -> None:
    for tensor in inputs:
        if len(tensor.shape) > MAX_RANK:
            raise context.error(
                f"tensor '{tensor.name}' has too many axes", found=str(len(tensor.shape)), expected=f"<= {MAX_RANK}"
            )
    try:
        shape = np.broadcast_shapes(*(tensor.shape for tensor in inputs))
    except ValueError:
        raise context.error(
            "inputs do not broadcast",
            found=" and ".join(str(list(tensor.shape)) for tensor in inputs),
            expected="sizes that are equal or 1, aligned at the last axis",
        ) from None
    checks.shape(context, context.output, shape)


@dataclass(frozen=True)
class Loop:
    """One loop over a broadcast: its extent, and how many elements each tensor moves at a step (0: it repeats)."""

    extent: int
    strides: tuple[int, ...]


def collapse(*shapes: tuple[int, ...]) -> tuple[Loop, ...]:
    """The fewest nested loops, outermost first, that visit all elements of a broadcast of `shapes` in order."""
    output = np.broadcast_shapes(*shapes)
    strides = [_strides(shape, len(output)) for shape in shapes]
    found: list[Loop] = []
    for axis in reversed(range(len(output))):
        loop = Loop(output[axis], tuple(stride[axis] for stride in strides))
        if loop.extent == 1:
            continue
        if found and loop.strides == tuple(stride * found[-1].extent for stride in found[-1].strides):
            found[-1] = Loop(loop.extent * found[-1].extent, found[-1].strides)
        else:
            found.append(loop)
    return tuple(reversed(found))


def _strides(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Elements between neighbours along each of `rank` axes; 0 along those that repeat."""
    found, step = [], 1
    for size in reversed((1,) * (rank - len(shape)) + shape):
        found.append(step if size > 1 else 0)
        step *= size
    return tuple(reversed(found))


def values(context: Context, first: str = "first", second: str = "second") -> dict[str, Any]:
    """What kernels/elementwise.j2 prints: the loops, and for each tensor its name and place in them."""
    inputs = (context.input(0), context.input(1))
    loops = _loops(context)
    computed = [(rule, (first, second)[rule.operand]) for rule in overlaps(context)]
    operands = [
        {
            **_place(loops, index),
            "name": name,
            "load": _LOADS[tensor.dtype] if tensor.data is not None else None,
        }
        for index, (name, tensor) in enumerate(zip((first, second), inputs, strict=True))
    ]
    return {
        "type": CTYPES[context.output.dtype],
        "loops": tuple(zip(_INDICES, (loop.extent for loop in loops), strict=False)),
        "first": operands[0],
        "second": operands[1],
        "output": {**_place(loops, 2), "apart": [overlap.words(rule, name) for rule, name in computed]},
    }


def kernel(context: Context, values: Mapping[str, Any]) -> Kernel:
    """The kernel that prints `values`, of both inputs."""
    return Kernel(values, (0, 1), overlaps=overlaps(context))


def overlaps(context: Context) -> tuple[Overlap, ...]:
    """How the output may lie over each input that is computed: elements are read where their loop begins."""
    return tuple(_overlap(context, index) for index in range(2) if context.input(index).data is None)


def _overlap(context: Context, index: int) -> Overlap:
    source, target = context.input(index), context.output
    *outer, inner = _loops(context) or (Loop(1, (1, 1, 1)),)
    at = np.zeros(1, np.int64)
    for loop in outer:
        at = (at[:, None] + np.arange(loop.extent) * loop.strides[index]).ravel()
    moving = [depth for depth, loop in enumerate([*outer, inner]) if loop.strides[index]]
    around = math.prod(loop.extent for loop in outer[max(moving, default=-1) + 1 :])
    first = np.array([0, 1])
    # of the innermost loop the first step, then all others: how far they are apart does not change between those
    rest = np.array([1, inner.extent]) if inner.strides[index] else np.array([0, 0])
    silent = (np.arange(len(at)) % around != 0)[:, None, None]
    reads = np.where(silent, 0, at[:, None, None] + np.stack([first, rest]))
    writes = np.arange(len(at))[:, None, None] * inner.extent + np.stack([first, [1, inner.extent]])
    item = DTYPES[target.dtype].itemsize
    return overlap.of_steps(
        index, reads.reshape(-1, 2) * item, writes.reshape(-1, 2) * item, source.bytes, target.bytes
    )


def _loops(context: Context) -> tuple[Loop, ...]:
    return collapse(context.input(0).shape, context.input(1).shape, context.output.shape)


def _place(loops: Sequence[Loop], tensor: int) -> dict[str, Any]:
    """Where a tensor's element lies (`at`), inside how many loops it changes (`depth`), and its `layout`."""
    strides = [loop.strides[tensor] for loop in loops]
    moving = [depth for depth, stride in enumerate(strides) if stride]
    terms = [_INDICES[d] if strides[d] == 1 else f"{_INDICES[d]} * {strides[d]}" for d in moving]
    sizes = [loop.extent if loop.strides[tensor] else 1 for loop in loops]
    return {
        "at": " + ".join(terms) or "0",
        "depth": moving[-1] + 1 if moving else 0,
        "layout": "".join(f"[{size}]" for size in sizes) or "[1]",
    }


def _deciding_input(context: Context) -> int | None:
    """The int8 input that alone decides every output of its own shape: the other is itself or one repeated constant."""
    if context.output.dtype != "int8":
        return None
    if context.node.inputs[0] == context.node.inputs[1]:
        return 0
    for index in range(2):
        moving, fixed = context.input(index), context.input(1 - index)
        if moving.size == context.output.size and fixed.data is not None and np.all(fixed.data == fixed.data.flat[0]):
            return index
    return None


def _is_table(context: Context) -> bool:
    return _deciding_input(context) is not None


def is_quantised(context: Context) -> bool:
    """Whether it computes reals, not integers as they are."""
    return context.output.dtype in checks.ACTIVATIONS


def variants(template: str, integer_template: str | None = None) -> tuple[Variant, ...]:
    """A table where one int8 input decides, else `template`; int32 through `integer_template` when it has its own."""
    tables = lookup.variants("lookup", _is_table)
    if integer_template is None:
        return (*tables, Variant("c", template))
    return (*tables, Variant("c", template, when=is_quantised), Variant("integer", integer_template))


def table_kernel(context: Context, reference: Reference) -> Kernel | None:
    """The kernel of the table variant; None when the node needs both inputs."""
    deciding = _deciding_input(context)
    if deciding is None:
        return None
    same = context.node.inputs[0] == context.node.inputs[1]

    def unary(context: Context, inputs: Sequence[Any]) -> list[Array]:
        other = inputs[0] if same else context.constant(1 - deciding).ravel()[:1]
        return reference(context, [inputs[0], other] if deciding == 0 else [other, inputs[0]])

    kernel = lookup.params(context, unary)
    return replace(kernel, operands=(deciding,), overlaps=(replace(kernel.overlaps[0], operand=deciding),))


def scaling(context: Context, *factors: float, over: float) -> tuple[int, int]:
    """Multiplier and shift of the product of `factors` divided by `over`.

    TensorFlow Lite computes it in float32 steps, TensorFlow Lite Micro in float64.
    """
    kind: Any = np.float32 if context.numerics is Numerics.TFLITE else np.float64
    with np.errstate(over="ignore", under="ignore"):
        real = kind(factors[0])
        for factor in factors[1:]:
            real = real * kind(factor)
        real = float(real / kind(over))
    if not np.isfinite(real) or abs(real) >= 2.0**MAX_SHIFT:
        raise context.error(
            "scales are too far apart",
            found=f"{' * '.join(f'{factor:.6g}' for factor in factors)} / {over:.6g}",
            expected=f"a ratio below 2**{MAX_SHIFT}",
        )
    return quant.quantize_multiplier(real)


def limits(context: Context, activation: str = "NONE") -> tuple[int, int]:
    """The least and greatest stored output under the fused activation."""
    output = context.output
    return quant.activation_range(activation, output.scale, output.zero_point, output.dtype)


def clamp(context: Context, activation: str = "NONE") -> dict[str, int]:
    """`clamp_min`, `clamp_max` of a result before the zero point is added, and `offset` to add to it."""
    zero_point = context.output.zero_point
    low, high = limits(context, activation)
    return {"offset": zero_point, "clamp_min": low - zero_point, "clamp_max": high - zero_point}


def store(context: Context, scaled: Array, activation: str = "NONE") -> Array:
    """`scaled` with the output's zero point, limited by the fused activation: the output's type."""
    bounds = clamp(context, activation)
    limited = np.clip(scaled, bounds["clamp_min"], bounds["clamp_max"]) + bounds["offset"]
    return np.asarray(limited, context.output.dtype)


def integer_limits(context: Context) -> tuple[int | None, int | None]:
    """Least and greatest int32 or int64 output under the fused activation; None where it has no such limit."""
    limits: dict[str, tuple[int | None, int | None]] = {"RELU": (0, None), "RELU6": (0, 6), "RELU_N1_TO_1": (-1, 1)}
    return limits.get(context.attributes.activation, (None, None))


def store_integers(context: Context, result: Array) -> Array:
    """A sum, difference or product wrapped to the output's integer type, limited by the fused activation."""
    low, high = integer_limits(context)
    wrapped = np.asarray(result).astype(context.output.dtype)
    return wrapped if low is None else np.asarray(np.clip(wrapped, low, high))


def integer_values(context: Context, operator: str) -> dict[str, Any]:
    """What kernels/elementwise_integer.c.j2 prints for the C operator `operator`."""
    low, high = integer_limits(context)
    return {**values(context), "operator": operator, "low": low, "high": high}
