"""Builds networks of quantised layers with random weights, as files that the frontend reads."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tests.modelbuilder import ModelBuilder, Value

SAME, VALID = 0, 1
NO_ACTIVATION, RELU = 0, 1
ACTIVATION_SCALE = 0.05
SPREAD = 3.2
"""Standard deviations of a filter's weights up to its largest, which is stored as 127: about what training gives."""
OUTPUT_DEVIATION = 40.0
"""Stored outputs about their mean."""
INPUT_DEVIATION = 60.0
SIGNED_ZERO, RELU_ZERO = 3, -128

Pair = tuple[int, int]
Scales = NDArray[np.float64]


class Net:
    """A network that grows from its inputs; each method appends a layer and gives what it writes."""

    def __init__(self, seed: int = 0) -> None:
        self._build = ModelBuilder(np.random.default_rng(seed))

    def input(self, *shape: int) -> Value:
        """An input; its first size is the batch."""
        return self._build.input(shape, "int8", ACTIVATION_SCALE, RELU_ZERO)

    def conv(
        self,
        x: Value,
        filters: int,
        kernel: Pair = (1, 1),
        stride: Pair = (1, 1),
        *,
        padding: int = SAME,
        dilation: Pair = (1, 1),
        groups: int = 1,
        relu: bool = True,
    ) -> Value:
        """A convolution."""
        shape = (filters, *kernel, x.shape[3] // groups)
        w, scales = self._weights(shape, 0)
        size = _windows(x.shape[1:3], kernel, stride, dilation, padding)
        y = self._activation((x.shape[0], *size, filters), relu)
        self._build.op(
            "CONV_2D", [x, w, self._bias(filters, scales)], [y], "Conv2D", **_window(stride, dilation, padding, relu)
        )
        return y

    def depthwise(
        self,
        x: Value,
        kernel: Pair = (3, 3),
        stride: Pair = (1, 1),
        *,
        padding: int = SAME,
        dilation: Pair = (1, 1),
        multiplier: int = 1,
        relu: bool = True,
    ) -> Value:
        """A depthwise convolution."""
        filters = x.shape[3] * multiplier
        w, scales = self._weights((1, *kernel, filters), 3)
        size = _windows(x.shape[1:3], kernel, stride, dilation, padding)
        y = self._activation((x.shape[0], *size, filters), relu)
        fields = _window(stride, dilation, padding, relu) | {"depthMultiplier": multiplier}
        self._build.op("DEPTHWISE_CONV_2D", [x, w, self._bias(filters, scales)], [y], "DepthwiseConv2D", **fields)
        return y

    def dense(self, x: Value, units: int, *, relu: bool = True) -> Value:
        """A fully connected layer over all of each sample."""
        rows = x.shape[0]
        depth = math.prod(x.shape[1:])
        w, scales = self._weights((units, depth), None)
        y = self._activation((rows, units), relu)
        fields = {"fusedActivationFunction": RELU if relu else NO_ACTIVATION}
        self._build.op("FULLY_CONNECTED", [x, w, self._bias(units, scales)], [y], "FullyConnected", **fields)
        return y

    def add(self, a: Value, b: Value, *, relu: bool = True) -> Value:
        """A sum of two tensors of one shape."""
        y = self._activation(a.shape, relu)
        fields = {"fusedActivationFunction": RELU if relu else NO_ACTIVATION}
        self._build.op("ADD", [a, b], [y], "Add", **fields)
        return y

    def mul(self, a: Value, b: Value) -> Value:
        """A product, the second factor spread over the first where it is smaller."""
        y = self._activation(a.shape, False)
        self._build.op("MUL", [a, b], [y], "Mul", fusedActivationFunction=NO_ACTIVATION)
        return y

    def pool(self, x: Value, size: Pair, stride: Pair | None = None, *, average: bool = True) -> Value:
        """A pooling."""
        steps = stride or size
        y = self._build.tensor(
            (x.shape[0], *_windows(x.shape[1:3], size, steps, (1, 1), VALID), x.shape[3]), "int8", x.scale, x.zero_point
        )
        fields = {"strideH": steps[0], "strideW": steps[1], "filterHeight": size[0], "filterWidth": size[1]}
        name = "AVERAGE_POOL_2D" if average else "MAX_POOL_2D"
        self._build.op(name, [x], [y], "Pool2D", **fields, padding=VALID, fusedActivationFunction=NO_ACTIVATION)
        return y

    def softmax(self, x: Value) -> Value:
        """Probabilities along the last axis."""
        y = self._build.tensor(x.shape, "int8", 1 / 256, -128)
        self._build.op("SOFTMAX", [x], [y], "Softmax", beta=1.0)
        return y

    def logistic(self, x: Value) -> Value:
        """Sigmoids."""
        y = self._build.tensor(x.shape, "int8", 1 / 256, -128)
        self._build.op("LOGISTIC", [x], [y])
        return y

    def file(self) -> bytes:
        """The network as a .tflite file."""
        return self._build.finish()

    def _weights(self, shape: tuple[int, ...], axis: int | None) -> tuple[Value, Scales]:
        """Normally distributed, the largest 127, and scales; for each filter along `axis`, or for all."""
        drawn = self._build.rng.normal(size=shape)
        axes = None if axis is None else tuple(other for other in range(len(shape)) if other != axis)
        largest = np.maximum(np.abs(drawn).max(axis=axes, keepdims=True), SPREAD)
        inputs = math.prod(shape) // (shape[0] if axis is None else shape[axis])
        scales = largest.ravel() * OUTPUT_DEVIATION / (math.sqrt(inputs) * INPUT_DEVIATION * 127)
        zeros = np.zeros(len(scales), int)
        return self._build.constant(np.rint(drawn / largest * 127), "int8", scales, zeros, axis or 0), scales

    def _bias(self, count: int, scales: Scales) -> Value:
        values = self._build.rng.integers(-2000, 2000, count)
        single = np.float32(ACTIVATION_SCALE) * scales.astype(np.float32)
        return self._build.constant(values, "int32", single, np.zeros(len(scales), int))

    def _activation(self, shape: tuple[int, ...], relu: bool) -> Value:
        return self._build.tensor(shape, "int8", ACTIVATION_SCALE, RELU_ZERO if relu else SIGNED_ZERO)


def _window(stride: Pair, dilation: Pair, padding: int, relu: bool) -> dict[str, int]:
    return {
        "strideH": stride[0],
        "strideW": stride[1],
        "dilationHFactor": dilation[0],
        "dilationWFactor": dilation[1],
        "padding": padding,
        "fusedActivationFunction": RELU if relu else NO_ACTIVATION,
    }


def _windows(size: tuple[int, ...], kernel: Pair, stride: Pair, dilation: Pair, padding: int) -> list[int]:
    """Outputs along each axis."""
    reach = [0 if padding == SAME else (k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    return [-(-(length - less) // step) for length, less, step in zip(size, reach, stride, strict=True)]
