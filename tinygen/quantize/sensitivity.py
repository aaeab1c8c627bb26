"""A model as a table of what each of its layers loses when it alone is quantised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure

from tinygen.errors import QuantizeError
from tinygen.ir import Array
from tinygen.quantize.channel_groups import ACTIVATIONS
from tinygen.quantize.data import Data
from tinygen.quantize.evaluate import BATCH, Score, check_samples, outputs_keras, score
from tinygen.quantize.keras_graph import DEPTHWISE, OUTPUT_AXES, Call, calls, copy_model, fold_batch_norm, run
from tinygen.quantize.training import Progress, mean_cross_entropy

WEIGHTS, ACTIVATION = "weights", "activations"
FEWEST_BITS, MOST_BITS = 2, 16


@dataclass(frozen=True)
class Row:
    """One layer quantised alone: its name and class, what of it, to how many bits, and how the model does then."""

    layer: str
    kind: str
    part: str
    bits: int
    score: Score
    drop: float
    """The accuracy lost against the float model, 0 to 1; negative for a gain."""
    loss_rise: float
    """The cross-entropy gained: it shows an order where the accuracy of few samples does not move."""


@dataclass(frozen=True)
class Sensitivity:
    """The float model and one row for each layer, part and number of bits, in the order of the layers."""

    baseline: Score
    loss: float
    rows: tuple[Row, ...]

    def worst(self) -> tuple[Row, ...]:
        """The rows, those first that cost most: the layers to keep at more bits."""
        return tuple(sorted(self.rows, key=lambda row: (-row.drop, -row.loss_rise)))


def sensitivity(
    model: keras.Model,
    calibration: Data,
    validation: Data,
    *,
    bits: Sequence[int] = (8, 4),
    progress: Progress | None = None,
) -> Sensitivity:
    """How the model answers `validation` when one layer at a time is quantised, all others in floating point.

    Weights are symmetric with a scale for each filter, activations affine with the range that they have on
    `calibration`. Quantising one layer at a time is the usual first analysis (Wu et al., "Integer quantization for deep
    learning inference: principles and empirical evaluation", 2020, section 5.1). Raises DataError, QuantizeError.
    """
    if not all(FEWEST_BITS <= count <= MOST_BITS for count in bits):
        raise QuantizeError("no such number of bits", found=str(list(bits)), expected=f"{FEWEST_BITS} to {MOST_BITS}")
    check_samples(validation, tuple(model.input_shape[1:]), int(model.output_shape[-1]))
    model = fold_batch_norm(model)
    found = {call.layer.name: (call, last) for call, last in _layers(model)}
    ranges = _ranges(model, calibration.x, {last for _, last in found.values()})
    baseline = outputs_keras(model, validation.x)
    base_score, base_loss = score(baseline, validation), mean_cross_entropy(baseline, validation.y)
    rows: list[Row] = []
    for done, (name, (call, last)) in enumerate(found.items(), 1):
        for count in bits:
            for part in (WEIGHTS, ACTIVATION):
                outputs = (
                    _with_weights(model, name, count, validation.x)
                    if part == WEIGHTS
                    else _with_activations(model, last, ranges[last], count, validation.x)
                )
                now, loss = score(outputs, validation), mean_cross_entropy(outputs, validation.y)
                drop = base_score.accuracy - now.accuracy
                rows.append(Row(name, call.kind, part, count, now, drop, loss - base_loss))
        if progress is not None:
            progress(done, len(found))
    return Sensitivity(base_score, base_loss, tuple(rows))


def _layers(model: keras.Model) -> list[tuple[Call, str]]:
    """Each layer with a kernel, and the name of the layer whose output it is that a converter quantises for it."""
    sites = calls(model)
    readers: dict[int, list[Call]] = {}
    for site in sites:
        for tensor in site.inputs:
            readers.setdefault(id(tensor), []).append(site)
    found = []
    for site in sites:
        if site.kind in OUTPUT_AXES or site.kind in DEPTHWISE:
            following = readers.get(id(site.outputs[0]), [])
            fused = len(following) == 1 and following[0].kind in ACTIVATIONS
            found.append((site, following[0].layer.name if fused else site.layer.name))
    return found


def _ranges(model: keras.Model, x: Array, wanted: set[str]) -> Mapping[str, tuple[float, float]]:
    """Layer -> the least and the greatest value of its output on `x`, zero among them."""
    ranges = dict.fromkeys(wanted, (0.0, 0.0))

    def note(layer: Any, output: Any) -> Any:
        if layer.name in wanted:
            low, high = ranges[layer.name]
            ranges[layer.name] = min(low, float(np.min(output))), max(high, float(np.max(output)))
        return output

    for start in range(0, len(x), BATCH):
        run(model, x[start : start + BATCH], note)
    return ranges


def _with_weights(model: keras.Model, name: str, bits: int, x: Array) -> Array:
    """The model's answers with the kernel of one layer quantised."""
    changed = copy_model(model)
    layer = changed.get_layer(name)
    layer.set_weights([rounded_weights(type(layer).__name__, layer.get_weights()[0], bits), *layer.get_weights()[1:]])
    return outputs_keras(changed, x)


def rounded_weights(kind: str, kernel: Array, bits: int) -> Array:
    """A kernel rounded to `bits`, symmetric, with a scale for each filter."""
    axes = (kernel.ndim - 2, kernel.ndim - 1) if kind in DEPTHWISE else (OUTPUT_AXES[kind] % kernel.ndim,)
    others = tuple(axis for axis in range(kernel.ndim) if axis not in axes)
    limit = 2 ** (bits - 1) - 1
    steps = np.maximum(np.abs(kernel).max(axis=others, keepdims=True), 1e-12) / limit
    return np.asarray(np.round(kernel / steps) * steps, np.float32)


def _with_activations(model: keras.Model, name: str, ends: tuple[float, float], bits: int, x: Array) -> Array:
    """The model's answers with the output of one layer quantised."""
    low, high = ends
    step = max(high - low, 1e-12) / (2**bits - 1)
    zero = np.round(-low / step)

    def quantised(layer: Any, output: Any) -> Any:
        if layer.name != name:
            return output
        return ((np.clip(np.round(np.asarray(output) / step) + zero, 0, 2**bits - 1) - zero) * step).astype(np.float32)

    parts = [run(model, x[start : start + BATCH], quantised) for start in range(0, len(x), BATCH)]
    return np.concatenate([np.asarray(part) for part in parts])


def plot(table: Sensitivity) -> Figure:
    """The accuracy lost by each layer as bars, one colour for each part and number of bits."""
    names = list(dict.fromkeys(row.layer for row in table.rows))
    series = list(dict.fromkeys((row.part, row.bits) for row in table.rows))
    figure = Figure(figsize=(6.4, 1.2 + 0.22 * len(names) * len(series)), layout="constrained")
    axes = figure.add_subplot()
    height = 0.8 / len(series)
    for index, (part, bits) in enumerate(series):
        rows = [row for row in table.rows if (row.part, row.bits) == (part, bits)]
        places = [names.index(row.layer) + (index - (len(series) - 1) / 2) * height for row in rows]
        axes.barh(places, [100 * row.drop for row in rows], height, label=f"{part}, {bits} bits")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.axvline(100 * table.baseline.standard_error, color="grey", linestyle=":", label="standard error")
    axes.set_xlabel(f"accuracy lost, points of {100 * table.baseline.accuracy:.1f} %")
    axes.legend(fontsize="small")
    return figure
