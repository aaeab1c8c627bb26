"""Makes or reads the samples that a model is checked with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tinygen.errors import DataError
from tinygen.ir import DTYPES, Array, Graph, Tensor

Sample = list[Array]
"""One value for each model input, of its full shape and type."""


def random_samples(graph: Graph, count: int, seed: int = 0) -> list[Sample]:
    """Samples for every input: the least value everywhere, the greatest, both mixed, then evenly spread values.

    Reals lie around the steps of the quantisation that reads them: beyond its ends, on steps, between them and halfway.
    """
    rng = np.random.default_rng(seed)
    return [[_random(graph, graph.tensors[i], number, rng) for i in graph.inputs] for number in range(count)]


def _random(graph: Graph, tensor: Tensor, number: int, rng: np.random.Generator) -> Array:
    if tensor.dtype == "float32":
        return _random_real(_grid(graph, tensor), tensor.shape, number, rng)
    if tensor.dtype == "bool":
        return rng.integers(0, 2, tensor.shape).astype(np.bool_)
    limits = np.iinfo(DTYPES[tensor.dtype])
    low, high = (int(limits.min), int(limits.max))
    if number == 0:
        return np.full(tensor.shape, low, tensor.dtype)
    if number == 1:
        return np.full(tensor.shape, high, tensor.dtype)
    if number == 2:
        return rng.choice(np.array([low, high], tensor.dtype), tensor.shape)
    return rng.integers(low, high, tensor.shape, tensor.dtype, endpoint=True)


def _grid(graph: Graph, tensor: Tensor) -> tuple[float, int, int]:
    """Scale, least and greatest step of the quantisation that reads a real input; if none, int8 from -1 to 1."""
    for node in graph.nodes:
        if node.op == "quantize" and node.inputs[0] == tensor.id:
            target = graph.tensors[node.outputs[0]]
            limits = np.iinfo(DTYPES[target.dtype])
            return target.scale, int(limits.min) - target.zero_point, int(limits.max) - target.zero_point
    return 1 / 128, -128, 127


def _random_real(grid: tuple[float, int, int], shape: tuple[int, ...], number: int, rng: np.random.Generator) -> Array:
    scale, low, high = grid
    if number <= 1:
        steps = np.full(shape, low - 0.5 if number == 0 else high + 0.5)
    elif number == 2:
        steps = rng.choice([low, high], shape) * rng.choice([1, 1.01, 2, 1000], shape)
    else:
        steps = rng.integers(low - 3, high + 3, shape, endpoint=True) + rng.choice([0, 0.5, 0.5, rng.random()], shape)
    reals = (steps * scale).astype(np.float32)
    neighbours = [reals, np.nextafter(reals, np.float32(-np.inf)), np.nextafter(reals, np.float32(np.inf))]
    return np.asarray(np.choose(rng.integers(0, 3, shape), neighbours), np.float32)


def read_samples(graph: Graph, path: Path) -> tuple[list[Sample], Array | None]:
    """(samples, labels or None) from an .npz file; raises DataError.

    A model with one input takes the array `x` (or the file's only array but `y`), with several inputs `x0`, `x1`, ...
    Each holds one sample a row, of the input's shape or of that shape without its 1s. `y`, when there, holds one label
    a sample.
    """
    arrays = _load(path)
    labels = arrays.pop("y", None)
    names = ["x"] if len(graph.inputs) == 1 else [f"x{i}" for i in range(len(graph.inputs))]
    if names == ["x"] and len(arrays) == 1:
        names = list(arrays)
    missing = [name for name in names if name not in arrays]
    if missing:
        raise DataError(
            f"array {', '.join(missing)} is missing",
            where=str(path),
            found=", ".join(arrays) or "no arrays",
            expected=", ".join(names),
            remedy="save it with numpy.savez(file, x=...)",
        )
    rows = [_rows(arrays[n], graph.tensors[i], f"{path} [{n}]") for n, i in zip(names, graph.inputs, strict=True)]
    if len({len(row) for row in rows}) != 1:
        raise DataError("inputs differ in their number of samples", where=str(path), found=str([len(r) for r in rows]))
    if labels is not None and labels.shape != (len(rows[0]),):
        raise DataError(
            "labels do not fit", where=f"{path} [y]", found=str(labels.shape), expected=f"({len(rows[0])},)"
        )
    return [list(sample) for sample in zip(*rows, strict=True)], labels


def _load(path: Path) -> dict[str, Array]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            return {"x": np.asarray(loaded)}
        with loaded as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "not an .npz file"
        raise DataError("cannot read the samples", where=str(path), found=str(reason)) from None


def _rows(array: Any, tensor: Tensor, where: str) -> list[Array]:
    """The samples of one input, each in its tensor's shape."""
    if str(array.dtype) != tensor.dtype:
        remedy = ""
        if array.dtype.kind == "f" and tensor.dtype == "int8":
            remedy = f"quantise it first: round(x / {tensor.scale:.6g}) + {tensor.zero_point}, limited to int8"
        raise DataError(
            "samples have the wrong type", where=where, found=str(array.dtype), expected=tensor.dtype, remedy=remedy
        )
    accepted = [tensor.shape, tensor.shape[1:] if tensor.shape[:1] == (1,) else tensor.shape]
    squeezed = tuple(size for size in tensor.shape if size != 1)
    rest = array.shape[1:]
    if array.ndim == 0 or (rest not in accepted and tuple(s for s in rest if s != 1) != squeezed):
        shown = ", ".join(map(str, accepted[-1]))
        raise DataError(
            "samples have the wrong shape", where=where, found=str(list(array.shape)), expected=f"[samples, {shown}]"
        )
    if len(array) == 0:
        raise DataError("no samples", where=where)
    return list(array.reshape(len(array), *tensor.shape))
