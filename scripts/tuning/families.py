"""Networks of the usual families at several sizes, with random weights, as .tflite files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from scripts.tuning.net import VALID, Net, Pair, Value

V1_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (1024, 2), (1024, 1))
"""Channels at full width, stride."""
V2_BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 2, 2), (6, 64, 2, 2), (6, 96, 2, 1), (6, 160, 2, 2), (6, 320, 1, 1))
"""Expansion, channels at full width, repeats, stride of the first."""
V2_WHOLE = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""The same with all repeats."""
MIXED_BLOCKS = (
    *((3, 16, 7, 2), (5, 16, 3, 1), (5, 16, 7, 1), (4, 24, 3, 2), (5, 24, 5, 1), (6, 24, 5, 1), (5, 40, 7, 2)),
    *((6, 40, 3, 1), (5, 48, 5, 1), (6, 48, 3, 1), (6, 96, 5, 2), (4, 96, 7, 1), (6, 160, 7, 1)),
)
"""Expansion, channels, window, stride, as searches for small memories find them."""
LEAST_CHANNELS = 8


def mobilenet_v1(width: float, size: int, channels: int = 3) -> bytes:
    """Separable convolutions, a classifier for two."""
    net = Net()
    x = net.conv(net.input(1, size, size, channels), _scaled(32, width), (3, 3), (2, 2))
    for filters, stride in V1_BLOCKS:
        x = net.depthwise(x, (3, 3), (stride, stride))
        x = net.conv(x, _scaled(filters, width))
    return _classified(net, x, 2)


def mobilenet_v2(width: float, size: int, kernel: int = 3) -> bytes:
    """Inverted residuals with linear bottlenecks."""
    net = Net()
    x = net.conv(net.input(1, size, size, 3), _scaled(32, width), (3, 3), (2, 2))
    for expansion, filters, repeats, first_stride in V2_BLOCKS:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            out = _scaled(filters, width)
            y = net.conv(x, x.shape[3] * expansion) if expansion > 1 else x
            y = net.conv(net.depthwise(y, (kernel, kernel), (stride, stride)), out, relu=False)
            x = net.add(x, y, relu=False) if stride == 1 and out == x.shape[3] else y
    return _classified(net, net.conv(x, _scaled(640, width)), 10)


def mobilenet_v2_whole(width: float, size: int) -> bytes:
    """MobileNetV2 with all its blocks."""
    net = Net()
    x = net.conv(net.input(1, size, size, 3), _scaled(32, width), (3, 3), (2, 2))
    for expansion, filters, repeats, first_stride in V2_WHOLE:
        for repeat in range(repeats):
            x = _inverted(net, x, expansion, _scaled(filters, width), 3, first_stride if repeat == 0 else 1)
    return _classified(net, net.conv(x, _scaled(1280, width)), 10)


def mixed_residuals(size: int) -> bytes:
    """Inverted residuals with windows from 3x3 to 7x7."""
    net = Net()
    x = net.conv(net.input(1, size, size, 3), 16, (3, 3), (2, 2))
    x = net.conv(net.depthwise(x, (3, 3)), 8, relu=False)
    for expansion, filters, kernel, stride in MIXED_BLOCKS:
        x = _inverted(net, x, expansion, filters, kernel, stride)
    return _classified(net, x, 10)


def _inverted(net: Net, x: Value, expansion: int, filters: int, kernel: int, stride: int) -> Value:
    y = net.conv(x, x.shape[3] * expansion) if expansion > 1 else x
    y = net.conv(net.depthwise(y, (kernel, kernel), (stride, stride)), filters, relu=False)
    return net.add(x, y, relu=False) if stride == 1 and filters == x.shape[3] else y


def ds_cnn(channels: int, blocks: int, frames: int = 49, features: int = 10) -> bytes:
    """Keyword spotting over a spectrogram."""
    net = Net()
    x = net.conv(net.input(1, frames, features, 1), channels, (10, 4), (2, 2))
    for _ in range(blocks):
        x = net.conv(net.depthwise(x), channels)
    return _classified(net, x, 12)


def resnet(channels: int, size: int, blocks: int = 3) -> bytes:
    """Residual blocks of two 3x3 convolutions."""
    net = Net()
    x = net.conv(net.input(1, size, size, 3), channels, (3, 3))
    for block in range(blocks):
        stride, filters = (1 if block == 0 else 2), channels << block
        y = net.conv(net.conv(x, filters, (3, 3), (stride, stride)), filters, (3, 3), relu=False)
        skip = x if stride == 1 else net.conv(x, filters, (1, 1), (stride, stride), relu=False)
        x = net.add(skip, y)
    return _classified(net, x, 10)


def autoencoder(inputs: int, hidden: int, code: int) -> bytes:
    """Fully connected layers to a code and back."""
    net = Net()
    x = net.input(1, inputs)
    for units in (hidden, hidden, hidden, code, hidden, hidden, hidden):
        x = net.dense(x, units)
    net.dense(x, inputs, relu=False)
    return net.file()


def cnn_1d(length: int, sensors: int, channels: int, kernel: int, along_height: bool) -> bytes:
    """Convolutions over time, as either axis of a picture."""
    net = Net()

    def pair(size: int) -> Pair:
        return (size, 1) if along_height else (1, size)

    x = net.input(1, *((length, 1) if along_height else (1, length)), sensors)
    for block in range(3):
        x = net.conv(x, channels << block, pair(kernel), pair(2 if block else 1))
    x = net.depthwise(x, pair(kernel))
    x = net.pool(net.conv(x, 2 * x.shape[3]), pair(2), average=False)
    x = net.conv(x, x.shape[3], pair(3), dilation=pair(2))
    return _classified(net, x, 6)


def temporal(length: int, channels: int) -> bytes:
    """A residual network over time with long kernels."""
    net = Net()
    x = net.conv(net.input(1, 1, length, 40), channels, (1, 3))
    for filters in (channels + channels // 2, 2 * channels, 3 * channels):
        y = net.conv(net.conv(x, filters, (1, 9), (1, 2)), filters, (1, 9), relu=False)
        x = net.add(net.conv(x, filters, (1, 1), (1, 2)), y)
    return _classified(net, x, 12)


def gated(channels: int, size: int) -> bytes:
    """Squeeze and excitation: a depthwise 5x5 convolution, weighed channel by channel."""
    net = Net()
    x = net.conv(net.input(1, size, size, 3), channels, (3, 3), (2, 2))
    for kernel, stride in (((3, 3), 1), ((5, 5), 2), ((7, 7), 1)):
        y = net.depthwise(x, kernel, (stride, stride))
        squeezed = net.conv(net.pool(y, (y.shape[1], y.shape[2])), max(4, y.shape[3] // 4))
        weights = net.logistic(net.conv(squeezed, y.shape[3], relu=False))
        x = net.conv(net.mul(y, weights), y.shape[3] + 8, relu=False)
    return _classified(net, x, 10)


def odd(size: int) -> bytes:
    """Sizes that nobody would choose: odd channels, few channels, grouped and dilated windows, filters of a channel."""
    net = Net()
    x = net.conv(net.input(1, size, size - 3, 1), 5, (5, 5), (2, 1))
    x = net.depthwise(x, (3, 3), multiplier=3)
    x = net.conv(x, 13, padding=VALID)
    x = net.conv(x, 18, (3, 3), dilation=(2, 2))
    x = net.conv(x, 12, (3, 3), groups=3)
    x = net.depthwise(x, (3, 3), dilation=(2, 2))
    x = net.conv(x, 7, (7, 7), (3, 3), padding=VALID)
    x = net.conv(x, 3)
    return _classified(net, net.conv(x, 6, (2, 2)), 3)


def batches(rows: int) -> bytes:
    """Several samples at a time."""
    net = Net()
    x = net.conv(net.input(rows, 12, 12, 2), 8, (3, 3))
    x = net.conv(net.depthwise(x, (3, 3), (2, 2)), 16)
    net.dense(net.pool(x, (2, 2)), 10)
    return net.file()


def _scaled(channels: int, width: float) -> int:
    """The nearest multiple of LEAST_CHANNELS, at least that."""
    return max(LEAST_CHANNELS, int(channels * width + LEAST_CHANNELS / 2) // LEAST_CHANNELS * LEAST_CHANNELS)


def _classified(net: Net, x: Value, classes: int) -> bytes:
    pooled = net.pool(x, (x.shape[1], x.shape[2]))
    net.softmax(net.dense(pooled, classes, relu=False))
    return net.file()


NETWORKS: Mapping[str, Callable[[], bytes]] = MappingProxyType(
    {
        "mobilenet_v1_0125_64": partial(mobilenet_v1, 0.125, 64),
        "mobilenet_v1_025_96": partial(mobilenet_v1, 0.25, 96),
        "mobilenet_v1_035_64_grey": partial(mobilenet_v1, 0.35, 64, 1),
        "mobilenet_v2_010_64": partial(mobilenet_v2, 0.1, 64),
        "mobilenet_v2_035_64": partial(mobilenet_v2, 0.35, 64),
        "mobilenet_v2_020_48_5x5": partial(mobilenet_v2, 0.2, 48, 5),
        "ds_cnn_16": partial(ds_cnn, 16, 2),
        "ds_cnn_64": partial(ds_cnn, 64, 4),
        "ds_cnn_172": partial(ds_cnn, 172, 5),
        "ds_cnn_76": partial(ds_cnn, 76, 3, 61, 13),
        "resnet_8": partial(resnet, 8, 32),
        "resnet_16": partial(resnet, 16, 32),
        "resnet_24": partial(resnet, 24, 20),
        "autoencoder_640": partial(autoencoder, 640, 128, 8),
        "autoencoder_100": partial(autoencoder, 100, 33, 3),
        "cnn_1d_128": partial(cnn_1d, 128, 3, 16, 5, True),
        "cnn_1d_250_wide": partial(cnn_1d, 250, 1, 12, 16, False),
        "temporal_98": partial(temporal, 98, 16),
        "gated_16": partial(gated, 16, 48),
        "odd_31": partial(odd, 31),
        "batches_4": partial(batches, 4),
    }
)
"""Name -> what makes it."""

LARGE_NETWORKS: Mapping[str, Callable[[], bytes]] = MappingProxyType(
    {
        "mobilenet_v2_035_144": partial(mobilenet_v2_whole, 0.35, 144),
        "mixed_residuals_96": partial(mixed_residuals, 96),
    }
)
"""Those that are too large for the RAM of small boards, unless rows are computed one by one."""
