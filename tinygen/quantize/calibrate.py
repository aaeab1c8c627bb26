"""The values that a float model takes on sample data, as a range for each of its tensors.

minmax      the least and the greatest value: nothing is clipped.
            Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
            Inference", CVPR 2018
percentile  leaves out a given share of the values, half at each end: rare outliers then cost no resolution.
            McKinstry et al., "Discovering Low-Precision Networks Close to Full-Precision Networks", 2018
mse         the range with the least squared error of quantisation, found by trying narrower ones.
            Choukroun et al., "Low-bit Quantization of Neural Networks for Efficient Inference", ICCV-W 2019
entropy     the range whose quantised distribution diverges least (Kullback-Leibler) from that of the values.
            Migacz, "8-bit Inference with TensorRT", GTC 2017

All but the first look at a histogram of BINS bins between the least and the greatest value of a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tinygen.errors import DataError, QuantizeError
from tinygen.ir import Array
from tinygen.quantize.tflite_file import Operator, TfliteFile, name_of, shape_of

Ranges = dict[str, tuple[float, float]]
"""Tensor name -> least and greatest value."""
BINS = 2048
LEVELS = 256
"""Values of a quantised activation."""
PERCENT = 99.99
"""Share of the values that stays inside a range of the method `percentile`, in per cent."""
_NARROWER = np.linspace(0.05, 1, 96)
"""Parts of the full range that are tried by `mse` and `entropy`."""
_KEEPING = (
    Operator.RESHAPE,
    Operator.SQUEEZE,
    Operator.EXPAND_DIMS,
    Operator.TRANSPOSE,
    Operator.MAX_POOL_2D,
    Operator.PAD,
    Operator.SLICE,
    Operator.STRIDED_SLICE,
    Operator.SPLIT,
    Operator.UNPACK,
    Operator.RESIZE_NEAREST_NEIGHBOR,
)
"""Operators whose outputs have the scale of their only variable input, because they move its values about."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """How often the values of a tensor lie in each of equally wide bins between two values."""

    counts: Array
    low: float
    high: float

    @property
    def edges(self) -> Array:
        """The ends of the bins."""
        return np.linspace(self.low, self.high, len(self.counts) + 1)

    @property
    def centres(self) -> Array:
        """The middles of the bins."""
        return (self.edges[:-1] + self.edges[1:]) / 2


def calibrate_tflite(
    data: bytes, x: Array | Sequence[Array], method: str = "minmax", known: Ranges | None = None
) -> Ranges:
    """The range of every float tensor of a float .tflite on the samples `x` (one array per input of the model).

    Ranges that are `known` come before those seen. Tensors that only hold the values of another in another order have
    its range. Raises DataError, QuantizeError.
    """
    if method not in METHODS:
        raise QuantizeError("unknown method of calibration", found=method, expected=", ".join(METHODS))
    samples = as_samples(TfliteFile(data), x)
    limits = _limits(data, samples)
    choose = METHODS[method]
    if choose is not None:
        limits = {name: choose(found) for name, found in _histograms(data, samples, limits).items()}
    return _kept(TfliteFile(data), limits, known or {})


def as_samples(file: TfliteFile, x: Array | Sequence[Array]) -> list[list[Array]]:
    """For each sample, one array of batch size 1 per input of the model; raises DataError."""
    arrays = [x] if isinstance(x, np.ndarray) else list(x)
    if len(arrays) != len(file.inputs):
        raise DataError("another number of inputs", found=str(len(arrays)), expected=str(len(file.inputs)))
    for array, tensor in zip(arrays, file.inputs, strict=True):
        if array.shape[1:] != shape_of(tensor)[1:] or not len(array):
            raise DataError(
                "samples for calibration have another shape than the model's input",
                where=name_of(tensor),
                found=str(list(array.shape)),
                expected=str(["samples", *shape_of(tensor)[1:]]).replace("'", ""),
            )
        if not np.isfinite(array).all():
            raise DataError("samples for calibration hold NaN or infinity", where=name_of(tensor))
    if len({len(array) for array in arrays}) != 1:
        raise DataError("the inputs have different numbers of samples", found=str([len(array) for array in arrays]))
    return [[array[i : i + 1].astype(np.float32) for array in arrays] for i in range(len(arrays[0]))]


def activations(data: bytes, samples: Sequence[Sequence[Array]]) -> Iterator[dict[str, Array]]:
    """For each sample, the values of the float tensors by name, in floating point."""
    interpreter = Interpreter(
        model_content=data,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
        num_threads=1,
    )
    interpreter.allocate_tensors()
    file = TfliteFile(data)
    wanted = {
        name_of(tensor): index
        for index, tensor in enumerate(file.tensors)
        if tensor.type == schema.TensorType.FLOAT32 and not file.is_constant(tensor)
    }
    for sample in samples:
        for detail, value in zip(interpreter.get_input_details(), sample, strict=True):
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
        yield {name: interpreter.get_tensor(index) for name, index in wanted.items()}


def _limits(data: bytes, samples: Sequence[Sequence[Array]]) -> Ranges:
    """The least and the greatest value of each tensor."""
    limits: Ranges = {}
    for values in activations(data, samples):
        for name, value in values.items():
            low, high = limits.get(name, (np.inf, -np.inf))
            limits[name] = (min(low, float(value.min())), max(high, float(value.max())))
    for name, limit in limits.items():
        if not np.isfinite(limit).all():
            raise QuantizeError("a tensor takes values that are not finite", where=name, found=str(limit))
    return limits


def _histograms(data: bytes, samples: Sequence[Sequence[Array]], limits: Ranges) -> dict[str, Histogram]:
    """The values of each tensor as counts between its limits."""
    counts = {name: np.zeros(BINS, np.int64) for name in limits}
    for values in activations(data, samples):
        for name, value in values.items():
            counts[name] += np.histogram(value, BINS, _open(limits[name]))[0]
    return {name: Histogram(counts[name], *_open(limits[name])) for name in limits}


def _open(limit: tuple[float, float]) -> tuple[float, float]:
    """The limits, apart even for a tensor that is constant."""
    low, high = limit
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def percentile(found: Histogram) -> tuple[float, float]:
    """The range that leaves out the share 100 - PERCENT of the values, half of it at each end."""
    below = np.cumsum(found.counts) / found.counts.sum()
    outside = (1 - PERCENT / 100) / 2
    first = int(np.searchsorted(below, outside, side="right"))
    last = int(np.searchsorted(below, 1 - outside, side="left"))
    return float(found.edges[first]), float(found.edges[last + 1])


def mean_squared_error(found: Histogram) -> tuple[float, float]:
    """The range with the least squared error, of clipping and of rounding together."""

    def error(low: float, high: float) -> float:
        return float((found.counts * (found.centres - _quantised(found.centres, low, high)) ** 2).sum())

    return _best(found, error)


def entropy(found: Histogram) -> tuple[float, float]:
    """The range with the least Kullback-Leibler divergence of the values from the quantised ones."""
    centres, whole = found.centres, found.counts.sum()

    def divergence(low: float, high: float) -> float:
        inside = (centres >= low) & (centres <= high)
        if not inside.any():
            return float("inf")
        clipped = np.where(inside, found.counts, 0).astype(np.float64)
        ends = np.flatnonzero(inside)[[0, -1]]
        clipped[ends[0]] += found.counts[: ends[0]].sum()
        clipped[ends[1]] += found.counts[ends[1] + 1 :].sum()
        seen = (found.counts > 0) & inside
        level = np.round((centres - low) / max(high - low, 1e-30) * (LEVELS - 1)).astype(np.int64).clip(0, LEVELS - 1)
        sums = np.bincount(level[inside], found.counts[inside], LEVELS)
        bins = np.bincount(level[seen], minlength=LEVELS)
        spread = np.where(seen, (sums / np.maximum(bins, 1))[level], 0.0)
        share, model = clipped / whole, spread / max(spread.sum(), 1)
        both = share > 0
        return float((share[both] * np.log(share[both] / np.maximum(model[both], 1e-12))).sum())

    return _best(found, divergence)


def _best(found: Histogram, cost: Callable[[float, float], float]) -> tuple[float, float]:
    """The cheapest range among narrower and narrower ones around 0; the widest of equally cheap ones."""
    low, high = min(found.low, 0.0), max(found.high, 0.0)
    tried = [(low * part, high * part) for part in _NARROWER[::-1]]
    return min(tried, key=lambda limits: cost(*limits))


def _quantised(values: Array, low: float, high: float) -> Array:
    """The values as LEVELS values between `low` and `high` would hold them."""
    step = max(high - low, 1e-30) / (LEVELS - 1)
    return low + step * np.clip(np.round((values - low) / step), 0, LEVELS - 1)


def _kept(file: TfliteFile, limits: Ranges, known: Ranges) -> Ranges:
    """The ranges, the known ones first, where operators that keep values have one range on both sides."""
    names = []
    for node in file.nodes():
        sources = [name_of(tensor) for tensor in node.inputs if tensor is not None and name_of(tensor) in limits]
        if node.code in _KEEPING and sources:
            names += [(sources[0], name_of(output)) for output in node.outputs]
    chosen = dict(known)
    for source, output in reversed(names):
        if output in chosen:
            chosen.setdefault(source, chosen[output])
    ranges = limits | chosen
    for source, output in names:
        if output in ranges:
            ranges[output] = ranges[source]
    return ranges


METHODS: Mapping[str, Callable[[Histogram], tuple[float, float]] | None] = {
    "minmax": None,
    "percentile": percentile,
    "mse": mean_squared_error,
    "entropy": entropy,
}


def with_ranges(data: bytes, ranges: Ranges) -> bytes:
    """The float .tflite with the ranges written beside its tensors, where a quantiser looks for them."""
    file = TfliteFile(data)
    for tensor in file.tensors:
        limits: Any = ranges.get(name_of(tensor))
        if limits is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.min = np.array([min(limits[0], 0.0)], np.float32)
            tensor.quantization.max = np.array([max(limits[1], 0.0)], np.float32)
    return file.to_bytes()
