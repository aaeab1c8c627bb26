"""Turns a line such as "conv 3x3 16->16 32x32 stride 2" into a network of that layer alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from scripts.tuning.net import SAME, VALID, Net, Pair

GRAMMAR = """\
conv KHxKW IN->OUT HxW, depthwise KHxKW CHANNELS HxW, dense IN->OUT, add|mul|softmax|logistic CHANNELS HxW,
average|max KHxKW CHANNELS HxW; then any of: stride S or SHxSW, dilation D, multiplier M, groups G, rows R, valid,
signed"""
NUMBERS = ("stride", "dilation", "multiplier", "groups", "rows")
FLAGS = ("valid", "signed")


@dataclass(frozen=True)
class Layer:
    """A layer as the line says it."""

    kind: str
    pairs: tuple[Pair, ...]
    channels: Pair
    numbers: Mapping[str, Pair] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()

    def number(self, name: str) -> Pair:
        """What follows a word, as height and width; 1 when it is not there."""
        return self.numbers.get(name, (1, 1))


def parse(text: str) -> Layer:
    """The layer of a line; raises ValueError with the grammar."""
    words = text.replace("→", "->").split()
    pairs: list[Pair] = []
    numbers, flags, channels = {}, set(), None
    if not words or words[0] not in BUILDERS:
        raise ValueError(f"not a layer: '{text}'; expected: {GRAMMAR}")
    rest = iter(words[1:])
    for word in rest:
        if word in NUMBERS:
            numbers[word] = _pair(next(rest, ""), text)
        elif word in FLAGS:
            flags.add(word)
        elif "->" in word:
            channels = _pair(word.replace("->", "x"), text)
        elif "x" in word:
            pairs.append(_pair(word, text))
        else:
            channels = _pair(word, text)
    layer = Layer(words[0], tuple(pairs), channels or (0, 0), numbers, frozenset(flags))
    if channels is None or len(pairs) != PAIRS[layer.kind]:
        raise ValueError(f"not a layer: '{text}'; expected: {GRAMMAR}")
    return layer


def _pair(word: str, text: str) -> Pair:
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", word)
    if not found:
        raise ValueError(f"not a layer: '{text}', '{word}' is no number; expected: {GRAMMAR}")
    return int(found[1]), int(found[2] or found[1])


def network(layer: Layer, seed: int = 0) -> bytes:
    """The layer alone, with random weights, as a .tflite file."""
    net = Net(seed)
    BUILDERS[layer.kind](net, layer)
    return net.file()


def _conv(net: Net, layer: Layer) -> None:
    kernel, size = layer.pairs
    x = net.input(layer.number("rows")[0], *size, layer.channels[0])
    groups = layer.number("groups")[0]
    net.conv(
        x,
        layer.channels[1],
        kernel,
        layer.number("stride"),
        padding=_padding(layer),
        dilation=layer.number("dilation"),
        groups=groups,
        relu="signed" not in layer.flags,
    )


def _depthwise(net: Net, layer: Layer) -> None:
    kernel, size = layer.pairs
    x = net.input(layer.number("rows")[0], *size, layer.channels[0])
    net.depthwise(
        x,
        kernel,
        layer.number("stride"),
        padding=_padding(layer),
        dilation=layer.number("dilation"),
        multiplier=layer.number("multiplier")[0],
        relu="signed" not in layer.flags,
    )


def _dense(net: Net, layer: Layer) -> None:
    x = net.input(layer.number("rows")[0], layer.channels[0])
    net.dense(x, layer.channels[1], relu="signed" not in layer.flags)


def _add(net: Net, layer: Layer) -> None:
    shape = (1, *layer.pairs[0], layer.channels[0])
    net.add(net.input(*shape), net.input(*shape), relu="signed" not in layer.flags)


def _mul(net: Net, layer: Layer) -> None:
    shape = (1, *layer.pairs[0], layer.channels[0])
    net.mul(net.input(*shape), net.input(*shape))


def _softmax(net: Net, layer: Layer) -> None:
    net.softmax(net.input(1, *layer.pairs[0], layer.channels[0]))


def _logistic(net: Net, layer: Layer) -> None:
    net.logistic(net.input(1, *layer.pairs[0], layer.channels[0]))


def _average(net: Net, layer: Layer) -> None:
    _pool(net, layer, True)


def _max(net: Net, layer: Layer) -> None:
    _pool(net, layer, False)


def _pool(net: Net, layer: Layer, average: bool) -> None:
    kernel, size = layer.pairs
    stride = layer.numbers.get("stride", kernel)
    net.pool(net.input(1, *size, layer.channels[0]), kernel, stride, average=average)


def _padding(layer: Layer) -> int:
    return VALID if "valid" in layer.flags else SAME


BUILDERS: Mapping[str, Callable[[Net, Layer], None]] = {
    "conv": _conv,
    "depthwise": _depthwise,
    "dense": _dense,
    "add": _add,
    "mul": _mul,
    "softmax": _softmax,
    "logistic": _logistic,
    "average": _average,
    "max": _max,
}
PAIRS = {"conv": 2, "depthwise": 2, "dense": 0, "add": 1, "mul": 1, "softmax": 1, "logistic": 1, "average": 2, "max": 2}
"""Kind -> how many sizes of two numbers its line has."""
