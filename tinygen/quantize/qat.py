"""Quantisation-aware training: a float Keras model as one whose weights were trained on the grid of the integer model.

    Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR
    2018, section 3; batch normalisation is folded before the training and stays as it is, as advised for its last phase
    in Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference: A whitepaper", 2018, section 3.2

It pays at 4 bits. At 8 bits rounding costs next to nothing and quantize() does as well without training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tinygen.ir import Array
from tinygen.quantize.calibrate import Ranges
from tinygen.quantize.convert import convert
from tinygen.quantize.data import Data
from tinygen.quantize.fake_quant import fake_quantize
from tinygen.quantize.integer import Settings, prepare
from tinygen.quantize.keras_graph import calls, fold_batch_norm, functional
from tinygen.quantize.quantize import classes_of, with_converter
from tinygen.quantize.tflite_file import TfliteFile, layers_of, name_of
from tinygen.quantize.training import BATCH_SIZE, Epoch, Progress, fit
from tinygen.quantize.weights import Bits

FIRST_SAMPLES = 256
"""Training samples that give the first ranges."""


@dataclass(frozen=True, eq=False)
class QuantizationAware:
    """A trained model: `model` computes in floating point with weights on their grids."""

    model: keras.Model
    ranges: Ranges
    """Layer name -> trained range of its output."""
    weights: Bits
    per_channel: bool
    epoch: Epoch
    """The best epoch, as judged on the validation set with everything rounded."""

    def to_tflite(self, calibration_x: Array | Sequence[Array]) -> bytes:
        """The model as .tflite in integers; the samples give the ranges that were not trained, such as the input's."""
        data = convert(self.model)
        settings = Settings(weights=self.weights, per_channel=self.per_channel)
        return prepare(
            data,
            calibration_x,
            settings,
            with_converter,
            trained=tensor_ranges(data, self.model, self.ranges),
            classes=classes_of(self.model),
        ).integer()


def quantization_aware_train(
    model: keras.Model,
    train: Data,
    validation: Data,
    *,
    weights: Bits = 8,
    per_channel: bool = True,
    epochs: int = 20,
    learning_rate: float = 1e-3,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    callbacks: Sequence[Any] = (),
    progress: Progress | None = None,
) -> QuantizationAware:
    """A copy of the trained float `model`, trained further with rounding; see quantize() for `weights`.

    The best validation epoch is kept; the same arguments give the same weights on the same computer. Raises DataError,
    QuantizeError.
    """
    twins = fake_quantize(fold_batch_norm(model), weights=weights, per_channel=per_channel)
    keras.utils.set_random_seed(seed)
    twins.rounded(train.x[:FIRST_SAMPLES], training=True)
    epoch = fit(
        twins.rounded,
        train,
        validation,
        epochs=epochs,
        learning_rate=learning_rate,
        seed=seed,
        batch_size=batch_size,
        callbacks=callbacks,
        progress=progress,
    )
    twins.bake()
    return QuantizationAware(twins.plain, twins.ranges(), weights, per_channel, epoch)


def tensor_ranges(data: bytes, model: keras.Model, ranges: Ranges) -> Ranges:
    """Tensor name -> range, for the tensor in the converted model that is the output of each layer in `ranges`.

    A tensor has the names of all layers that were merged into its operator, and is the output of the last of them. A
    layer whose name is last seen in another's output was merged into that one: it has no tensor and needs no range.
    """
    file, sites = TfliteFile(data), calls(model)
    order = {call.layer.name: index for index, call in enumerate(sites)}
    made: dict[str, str] = {}
    for node in file.nodes():
        for tensor in node.outputs:
            named = sorted((part for part in layers_of(tensor) if part in order), key=order.__getitem__)
            made |= dict.fromkeys(named[:-1], "") | dict.fromkeys(named[-1:], name_of(tensor))
    makers = {id(tensor): call.layer.name for call in sites for tensor in call.outputs}
    ends = zip(functional(model).outputs, file.outputs, strict=True)
    made |= {makers[id(end)]: name_of(tensor) for end, tensor in ends}  # these have no layer's name
    return {made[layer]: limits for layer, limits in ranges.items() if made.get(layer)}
