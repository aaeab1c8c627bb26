"""The scripts that measure kernels, and that layers of the usual families have kernels of their core."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from scripts import tune
from scripts.tuning import families
from scripts.tuning.layer import network, parse
from scripts.tuning.measure import board_of, cost, possible
from scripts.tuning.sweep import kinds, swept
from tinygen import ops
from tinygen.driver import Compiled, Model, compile_model
from tinygen.frontend import tflite
from tinygen.ops.spec import context_of
from tinygen.quant import Numerics

WEIGHTED = ("conv_2d", "depthwise_conv_2d", "fully_connected")
PLAIN = {f"kernels/{name}.c.j2" for name in (*WEIGHTED, "conv_2d.pointwise")}
LEAST_SHARE = 0.02
"""Of a network's multiply-accumulates: smaller layers may be in plain C."""
SMALL: tuple[Callable[[], bytes], ...] = (
    partial(families.mobilenet_v1, 0.125, 32),
    partial(families.mobilenet_v2, 0.1, 32, 5),
    partial(families.ds_cnn, 12, 1),
    partial(families.resnet, 8, 8, 2),
    partial(families.autoencoder, 64, 48, 4),
    partial(families.cnn_1d, 32, 3, 8, 5, True),
    partial(families.temporal, 30, 6),
    partial(families.gated, 8, 16),
    partial(families.batches, 2),
)


def plain_layers(compiled: Compiled) -> list[str]:
    """The layers in plain C that multiply a lot."""
    templates = {function.name: function.template for function in compiled.program.functions}
    nodes = [node for node in compiled.graph.nodes if not ops.SPECS[node.op].alias]
    found = []
    for node, call in zip(nodes, compiled.program.calls, strict=True):
        macs = ops.SPECS[node.op].cost(context_of(compiled.graph, node, Numerics.TFLITE)).macs
        if node.op in WEIGHTED and macs > LEAST_SHARE * compiled.program.macs and templates[call.function] in PLAIN:
            found.append(call.comment)
    return found


@pytest.mark.parametrize("core", ["cortex-m4f", "cortex-m3", "cortex-m0plus", "cortex-m55"])
def test_families_have_kernels_of_their_core(core: str, monkeypatch: pytest.MonkeyPatch) -> None:
    board = board_of(core)
    monkeypatch.setattr("tinygen.variants.Choice.rows", None)
    for build in SMALL:
        data = build()
        compiled = compile_model(Model("net.tflite", data, tflite.read(data, "net.tflite")), board, "net")
        assert plain_layers(compiled) == [], build


def test_a_layer_with_each_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    line = "conv 1x1 8->8 4x4"
    assert tune.main(["--core", "cortex-m3", "--layer", line, "--set", "convolution_pairs_v7m.UNROLLED=2,4"]) == 0
    rows = [row.split(" | ") for row in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == [f"| {line}"] * len(rows)
    assert ["conv_2d.pairs.v7m", "UNROLLED 2"] in [row[1:3] for row in rows]
    assert ["conv_2d.pairs.v7m", "UNROLLED 4"] in [row[1:3] for row in rows]
    assert ["conv_2d.pointwise", ""] in [row[1:3] for row in rows]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layer", "deconv 3x3 4->4 8x8"], "not a layer: 'deconv 3x3 4->4 8x8'; expected: conv KHxKW"),
        (["--layer", "conv 3x3 4->4"], "not a layer: 'conv 3x3 4->4'; expected"),
        (["--layer", "dense 4->4 rows x"], "'x' is no number"),
        (["--core", "cortex-m9", "--layer", "dense 4->4"], "unknown core"),
        (["--layer", "dense 4->4", "--set", "pointwise_dsp.NOTHING=1"], "NOTHING"),
        (["--layer", "dense 4->4", "--set", "NOTHING"], "'NOTHING' is not MODULE.CONSTANT=VALUE,VALUE"),
    ],
)
def test_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        tune.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_every_layer_of_the_grammar() -> None:
    board = board_of("cortex-m4f")
    lines = {
        "conv 3x3 4->8 6x5 stride 2 valid signed": "dsp",
        "conv 3x3 6->6 6x5 groups 3 dilation 2": "groups_v7m",
        "depthwise 3x3 4 6x5 multiplier 2 stride 1x2": "taps_dsp",
        "dense 12->8 rows 3": "rows_dsp",
        "add 4 3x3": "dsp",
        "mul 4 3x3": "roundings",
        "softmax 4 1x1": "c",
        "average 2x2 4 4x4": "dsp",
        "max 2x2 4 4x4 stride 1": "dsp",
    }
    assert {line: possible(network(parse(line)), board)[0] for line in lines} == lines


def test_a_sweep_names_what_costs_too_much() -> None:
    """Two roundings cost more than one; a small map costs more for each product, but not above its floor."""
    board = board_of("cortex-m4f")
    lines = ("depthwise 3x3 8 16x16", "depthwise 3x3 8 2x2", "depthwise 3x3 8 16x16 signed", "depthwise 3x3 8 32x16")
    layers = [layer for line in lines for layer in swept(line, cost(network(parse(line)), board))]
    (kind,) = kinds(layers)
    assert kind.name == "DEPTHWISE_CONV_2D" and len(kind.layers) == 4
    assert [layer.products for layer in layers[:2]] == [8 * 46 * 46, 8 * 4 * 4]
    assert [layer.network for layer in kind.outliers] == ["depthwise 3x3 8 16x16 signed", "depthwise 3x3 8 2x2"]
    assert kind.worst > 1.5 * kind.best and 1.5 < kind.most_over == kind.outliers[0].over(kind.product)


def test_a_layer_of_few_products_is_no_outlier() -> None:
    """A sum of eight products is scaled like one of more: they cost more each, but are not far above the floor."""
    board = board_of("cortex-m4f")
    lines = ("conv 1x1 8->16 8x8", "conv 1x1 24->16 8x8")
    layers = [layer for line in lines for layer in swept(line, cost(network(parse(line)), board))]
    (kind,) = kinds(layers)
    assert kind.worst > 1.4 * kind.best and kind.outliers == () and kind.most_over < 1.25
