"""Turns the weights of a plain C kernel into packed ones, which it unpacks some filters at a time into scratch."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tinygen.ops import codes, weighted
from tinygen.ops.codes import Codes
from tinygen.ops.spec import Constant, Context, Kernel

OPERANDS = weighted.Operands(channel_axis=0, offset_weights=True)
BYTE_BITS = 8
MOST_SCRATCH_BYTES = 1024
"""Of several filters: where they take more, they are unpacked one by one."""


def applies(context: Context) -> bool:
    """Whether the weights take few enough values, and have zero point 0."""
    return not weighted.weights_zero_point(context, OPERANDS) and _coded(context) is not None


def kernel(context: Context, plain: Kernel) -> Kernel:
    """`plain` with its weights packed, and room for those of the filters that are computed side by side."""
    coded = _coded(context)
    assert coded is not None  # proved by applies
    elements = coded.indices.shape[1]
    lanes = len(plain.values["lanes"])
    if lanes * elements > MOST_SCRATCH_BYTES:
        lanes = 1
    runs = coded.indices if coded.per_channel else coded.indices.reshape(-1, lanes * elements)
    group = math.lcm(coded.bits, BYTE_BITS) // coded.bits
    run_elements = -(-runs.shape[1] // group) * group
    packed = [codes.pack(run, coded.bits)[: run_elements * coded.bits // BYTE_BITS] for run in runs]
    constants = [replace(plain.constants[0], data=np.concatenate(packed)), *plain.constants[1:]]
    if coded.tables is not None:
        constants.insert(1, Constant("table", coded.tables))
    count = lanes if coded.per_channel else 1
    values = {
        **plain.values,
        **weighted.lanes(lanes, run_elements if coded.per_channel else elements),
        "bits": coded.bits,
        "codes_at_once": group,
        "bytes_at_once": group * coded.bits // BYTE_BITS,
        "runs": count,
        "run_elements": run_elements,
        "table": coded.tables is not None,
        "own_table": coded.per_channel,
    }
    return Kernel(values, plain.operands, tuple(constants), count * run_elements)


def _coded(context: Context) -> Codes | None:
    weights = context.constant(OPERANDS.weights)
    return codes.find(weights.reshape(len(weights), -1))
