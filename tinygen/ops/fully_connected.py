"""FULLY_CONNECTED: int8 matrix product over the last axis, per-tensor or per-channel weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import (
    checks,
    codebook_dsp,
    compressed_dsp,
    convolution_pairs_v7m,
    fully_connected_dsp,
    fully_connected_mve,
    lanes_v7m,
    matrix_chain_dsp,
    matrix_few,
    matrix_few_dsp,
    matrix_int16_dsp,
    matrix_v6m,
    matrix_words_dsp,
    nibbles_dsp,
    overlap,
    packed_pairs_v7m,
    packed_weights,
    real_scale,
    sparse_weights,
    weighted,
)
from tinygen.ops.spec import Context, Cost, Kernel, Leaner, OpSpec, Options, Variant
from tinygen.quant import Numerics

OPERANDS = weighted.Operands(channel_axis=0, offset_weights=True)
WEIGHTS_FORMATS = ("DEFAULT", "SHUFFLED4x16INT8")


@dataclass(frozen=True)
class FullyConnected:
    """Attributes of FULLY_CONNECTED."""

    activation: str
    keep_num_dims: bool
    weights_format: str


def read(options: Options) -> FullyConnected:
    """Attributes from the file's options."""
    return FullyConnected(
        options.choice("fusedActivationFunction", quant.ACTIVATIONS),
        bool(options.get("keepNumDims", False)),
        options.choice("weightsFormat", WEIGHTS_FORMATS),
    )


def check(context: Context) -> None:
    """Shapes [..., I] * [O, I] -> [N, O], or [..., O] when the number of axes is kept."""
    checks.arity(context, (2, 3))
    x, weights = context.input(0), context.input(1)
    checks.activations(context, x, context.output)
    checks.rank(context, weights, 2)
    if context.attributes.weights_format != "DEFAULT":
        raise context.error(
            "weights are stored in an order for another processor",
            found=context.attributes.weights_format,
            expected="DEFAULT",
            remedy="convert the model again without that option",
        )
    weighted.check(context, OPERANDS)
    units, depth = weights.shape
    keep = context.attributes.keep_num_dims
    if (not x.shape or x.shape[-1] != depth) if keep else x.size % depth:
        raise context.error(
            "input does not fit the weights",
            found=f"input {list(x.shape)}, weights {list(weights.shape)}",
            expected=f"a last axis of {depth}" if keep else f"a multiple of {depth} elements",
        )
    checks.shape(context, context.output, (*x.shape[:-1], units) if keep else (x.size // depth, units))


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """Exact sums: TensorFlow Lite's reference scales them in float64, rounded once; TFLM in fixed point, twice."""
    zero_point, weights_zero_point = context.input(0).zero_point, weighted.weights_zero_point(context, OPERANDS)
    weights = inputs[1].astype(np.int64) - weights_zero_point
    sums = (inputs[0].reshape(-1, weights.shape[1]).astype(np.int64) - zero_point) @ weights.T
    return [finish(context, sums, inputs).reshape(context.output.shape)]


def finish(context: Context, sums: Array, inputs: Sequence[Any]) -> Array:
    """Bias, scaling, zero point and clamp of int64 sums [..., units]: int8."""
    if context.numerics is Numerics.TFLM:
        return weighted.finish(context, OPERANDS, sums, inputs)
    sums = weighted.add_bias(sums, inputs, OPERANDS)
    return weighted.store(context, real_scale.scaled(sums, weighted.scales(context, OPERANDS)))


def params(context: Context) -> Kernel:
    """Numbers and arrays for the template; weights stay in the file's order [O, I]."""
    units, depth = context.input(1).shape
    scaling = _scaling(context)
    values = {
        **weighted.values(context, OPERANDS, scaling),
        **weighted.lanes(units, depth),
        "weights_offset": -weighted.weights_zero_point(context, OPERANDS),
        "batches": context.input(0).size // depth,
        "depth": depth,
        "units": units,
    }
    lanes = len(values["lanes"])
    rule = overlap.of_matrix(context, np.arange(0, units, lanes)[:, None, None] + np.array([0, lanes]))
    values["apart"] = overlap.words(rule)
    return Kernel(values, (0,), weighted.constants(context, OPERANDS, scaling), overlaps=(rule,))


def few_params(context: Context) -> Kernel:
    """The same in words, of few channels."""
    return matrix_few_dsp.kernel(context, params(context))


def words_params(context: Context) -> Kernel:
    """The same in words, of any channels."""
    return matrix_words_dsp.kernel(context, params(context))


def _scaling(context: Context) -> weighted.Scaling:
    """As the profile of numerics has it."""
    scale = weighted.fixed_point if context.numerics is Numerics.TFLM else weighted.nearest
    return scale(context, OPERANDS)


def int16_dsp_params(context: Context) -> Kernel:
    """The kernel of int16 for cores with the DSP extension."""
    return matrix_int16_dsp.matrix(context, _scaling(context))


def packed_params(context: Context) -> Kernel:
    """The same with the weights in fewer bits."""
    return packed_weights.kernel(context, _by_pixels(context))


def sparse_params(context: Context) -> Kernel:
    """The same without the weights that are zero."""
    return sparse_weights.kernel(context, _by_pixels(context))


def _by_pixels(context: Context) -> Kernel:
    """The numbers of a 1x1 convolution, each row a pixel."""
    plain = params(context)
    units, depth = context.input(1).shape
    rows = {"pixels": plain.values["batches"], "in_channels": depth, "out_channels": units}
    return replace(plain, values={**plain.values, **rows})


def cost(context: Context) -> Cost:
    """One multiply-accumulate for each weight and row of the input."""
    return Cost(context.output.size * context.input(1).shape[1], context.output.size)


_IN_WORDS = Leaner(
    "words_dsp",
    lambda _: fully_connected_dsp.CODE_BYTES,
    matrix_words_dsp.CODE_BYTES,
    matrix_words_dsp.more_than_blocks,
)
"""Blocks of channels give way to words as they lie."""

SPEC = OpSpec(
    name="fully_connected",
    tflite="FULLY_CONNECTED",
    read=read,
    check=check,
    reference=reference,
    params=params,
    cost=cost,
    variants=(
        Variant(
            "int16_dsp",
            matrix_int16_dsp.TEMPLATE,
            frozenset({"dsp"}),
            matrix_int16_dsp.applies,
            int16_dsp_params,
            wide=True,
        ),
        Variant(
            "mve",
            "kernels/fully_connected.mve.c.j2",
            frozenset({"mve"}),
            fully_connected_mve.applies,
            fully_connected_mve.params,
        ),
        Variant(
            "sparse_dsp",
            "kernels/matrix_vector.sparse.dsp.c.j2",
            frozenset({"dsp"}),
            compressed_dsp.vector_is_sparse,
            compressed_dsp.sparse_vector,
        ),
        Variant(
            "chain_dsp",
            matrix_chain_dsp.TEMPLATE,
            frozenset({"dsp"}),
            matrix_chain_dsp.applies,
            matrix_chain_dsp.params,
            leaner=_IN_WORDS,
        ),
        Variant(
            "direct_chain_dsp",
            matrix_chain_dsp.TEMPLATE,
            frozenset({"dsp"}),
            matrix_chain_dsp.direct_applies,
            matrix_chain_dsp.direct_params,
        ),
        Variant(
            "dsp",
            "kernels/matrix_vector.dsp.c.j2",
            frozenset({"dsp"}),
            fully_connected_dsp.applies,
            fully_connected_dsp.params,
            leaner=_IN_WORDS,
        ),
        Variant(
            "direct_dsp",
            "kernels/matrix_vector.dsp.c.j2",
            frozenset({"dsp"}),
            fully_connected_dsp.direct_applies,
            fully_connected_dsp.direct_params,
        ),
        Variant(
            "rows_dsp",
            "kernels/conv_2d.pointwise.dsp.c.j2",
            frozenset({"dsp"}),
            fully_connected_dsp.rows_apply,
            fully_connected_dsp.rows_params,
        ),
        Variant(
            "few_dsp",
            matrix_few_dsp.TEMPLATE,
            frozenset({"dsp"}),
            matrix_few_dsp.applies,
            few_params,
            leaner=Leaner(
                "words_dsp",
                lambda _: matrix_few_dsp.CODE_BYTES,
                matrix_words_dsp.FEW_BYTES,
                matrix_words_dsp.more_than_few,
            ),
        ),
        Variant(
            "words_dsp",
            matrix_words_dsp.TEMPLATE,
            frozenset({"dsp"}),
            matrix_words_dsp.applies,
            words_params,
        ),
        Variant(
            "v6m",
            "kernels/matrix.v6m.c.j2",
            frozenset({"armv6m"}),
            matrix_v6m.applies,
            matrix_v6m.params,
            leaner=Leaner("c", lambda _: matrix_v6m.CODE_BYTES, matrix_v6m.PLAIN_BYTES, matrix_v6m.plain_cycles),
        ),
        Variant(
            "rows_v7m",
            convolution_pairs_v7m.TEMPLATE,
            frozenset({"armv7m"}),
            convolution_pairs_v7m.rows_apply,
            convolution_pairs_v7m.rows_params,
        ),
        Variant(
            "v7m",
            lanes_v7m.MATRIX,
            frozenset({"armv7m"}),
            matrix_v6m.applies,
            lanes_v7m.matrix,
            leaner=Leaner("c", lambda _: lanes_v7m.CODE_BYTES, lanes_v7m.PLAIN_BYTES, lanes_v7m.plain_cycles),
        ),
        Variant(
            "sparse",
            "kernels/conv_2d.pointwise.sparse.c.j2",
            when=lambda context: sparse_weights.applies(context, context.input(1).shape[0]),
            params=sparse_params,
        ),
        *matrix_few.variants("few", "c", params, lambda context: True),
        Variant("c", "kernels/fully_connected.c.j2"),
    ),
    compact=(
        Variant(
            "nibbles_packed_dsp",
            "kernels/matrix_vector.nibbles.dsp.c.j2",
            frozenset({"dsp"}),
            nibbles_dsp.applies,
            nibbles_dsp.params,
        ),
        Variant(
            "codebook_packed_dsp",
            "kernels/matrix_vector.codebook.dsp.c.j2",
            frozenset({"dsp"}),
            codebook_dsp.applies,
            codebook_dsp.params,
        ),
        Variant(
            "packed_dsp",
            "kernels/matrix_vector.packed.dsp.c.j2",
            frozenset({"dsp"}),
            compressed_dsp.vector_packs,
            compressed_dsp.packed_vector,
        ),
        Variant(
            "rows_packed_dsp",
            "kernels/conv_2d.pointwise.packed.dsp.c.j2",
            frozenset({"dsp"}),
            compressed_dsp.rows_pack,
            compressed_dsp.packed_rows,
        ),
        Variant(
            "pairs_packed_v7m",
            packed_pairs_v7m.TEMPLATE,
            frozenset({"armv7m"}),
            packed_pairs_v7m.rows_apply,
            packed_pairs_v7m.rows_params,
        ),
        Variant("packed", "kernels/conv_2d.pointwise.packed.c.j2", when=packed_weights.applies, params=packed_params),
    ),
)
