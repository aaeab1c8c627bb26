"""Activations of 16 bits through all oracles: random operators and networks, all values, sums of 64 bits, boards."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import compressed
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import Emit, check_host, check_model, model_of
from tests.overlap_harness import check_safe, check_tight, layers
from tests.test_emulated import check_on_boards, compiled
from tests.test_generated_c import CORES as DISTINCT
from tests.test_generated_c import WARNINGS, check_sanitized, compilers, run, unpack_files
from tests.weighted import generated
from tests.wide_models import OUTPUT_SCALE, wide_builder, wide_emitters, wide_model
from tinygen import passes, reference, target
from tinygen.driver import Model, compile_model
from tinygen.errors import ModelError
from tinygen.frontend import tflite
from tinygen.ir import Array
from tinygen.ops import SPECS, softmax_int16
from tinygen.ops.spec import context_of
from tinygen.quant import Numerics
from tinygen.variants import Optimize, choose
from tinygen.verify.golden import Golden

ALL_VALUES = np.arange(-32768, 32768).astype(np.int16)
WEIGHTED = ("conv_2d", "depthwise_conv_2d", "fully_connected", "transpose_conv")
FAMILIES = {
    "weights": WEIGHTED,
    "sums": ("add", "sub", "mul", "maximum", "minimum"),
    "windows": ("average_pool_2d", "max_pool_2d", "mean", "resize_bilinear", "resize_nearest_neighbor"),
    "curves": ("relu", "relu6", "leaky_relu", "softmax", "logistic", "tanh", "quantize"),
    "movements": ("concatenation", "pad", "padv2", "pack", "unpack", "split", "split_v", "slice"),
    "shapes": ("strided_slice", "transpose", "reshape", "squeeze", "expand_dims"),
}
BOARDS = ("nucleo_g0b1re", "nucleo_l4r5zi", "ATmega1284P")


def test_every_operator_is_in_a_family() -> None:
    assert sorted(name for names in FAMILIES.values() for name in names) == sorted(wide_emitters())


def family_model(family: str, seed: int, each: int, most: int = 9) -> bytes:
    """`each` instances of every operator of a family, side by side."""
    emits = [wide_emitters()[name] for name in FAMILIES[family]]
    made = 0

    def emit(build: ModelBuilder, x: Value) -> bool:
        nonlocal made
        done = emits[made % len(emits)](build, x)
        made += done
        return done

    return model_of(emit, seed, (4,), each * len(emits), most, "int16")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_operator(family: str, golden: Golden) -> None:
    check_model(family_model(family, 3, 5), golden, 3)


@pytest.mark.parametrize("seed", range(8))
def test_random_networks(seed: int, golden: Golden) -> None:
    check_model(wide_model(seed, 20), golden, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 2000))
def test_random_networks_long(seed: int, golden: Golden) -> None:
    check_model(wide_model(seed, 20), golden, seed)


@pytest.mark.parametrize("family", FAMILIES)
def test_boards(family: str) -> None:
    """Cores with instructions of their own, and an int of 16 bits."""
    check_on_boards(family_model(family, 4, 2, most=5), BOARDS, samples=3)


def unary(op: str, scale: float, out_scale: float, options: str | None = None, **fields: Any) -> bytes:
    """One operator on all values."""
    build = ModelBuilder(activations="int16")
    x = build.input(ALL_VALUES.shape, "int16", scale)
    build.op(op, [x], [build.tensor(ALL_VALUES.shape, "int16", out_scale)], options, **fields)
    return build.finish()


def check_all_values(data: bytes, golden: Golden) -> None:
    """The operator on all values, through all oracles."""
    graph = tflite.read(data, "test model")
    for numerics in Numerics:
        check_host(data, [[ALL_VALUES]], [reference.run(graph, [ALL_VALUES], numerics)], numerics)
    output = graph.outputs[0]
    expected = golden.run(data, [[ALL_VALUES]])[0][output]
    np.testing.assert_array_equal(reference.run(graph, [ALL_VALUES], Numerics.TFLITE)[output], expected)


@pytest.mark.parametrize("op", ["LOGISTIC", "TANH"])
@pytest.mark.parametrize("scale", [1 / 4096, 1 / 2048, 1 / 8192, 1e-6, 3.3e-4, 0.1, 2.0])
def test_all_values_of_a_curve(op: str, scale: float, golden: Golden) -> None:
    """Powers of two have a path of their own in the reference."""
    check_all_values(unary(op, scale, OUTPUT_SCALE), golden)


@pytest.mark.parametrize("alpha", [0.3, -0.7])
def test_all_values_of_a_leaky_rectifier(alpha: float, golden: Golden) -> None:
    check_all_values(unary("LEAKY_RELU", 0.0003, 0.0002, "LeakyRelu", alpha=alpha), golden)


def test_tflm_does_not_rescale_relu6() -> None:
    """Seen in the tflite-micro package."""
    data = unary("RELU6", 0.0003, 0.0007)
    graph = tflite.read(data, "test model")
    found = reference.run(graph, [ALL_VALUES], Numerics.TFLM)[graph.outputs[0]]
    np.testing.assert_array_equal(found, np.clip(ALL_VALUES, 0, 20000))


def softmax(shape: Sequence[int], scale: float, beta: float = 1.0) -> bytes:
    build = ModelBuilder(activations="int16")
    x = build.input(shape, "int16", scale)
    build.op("SOFTMAX", [x], [build.tensor(shape, "int16", OUTPUT_SCALE)], "Softmax", beta=beta)
    return build.finish()


@pytest.mark.parametrize(("scale", "depth", "beta"), [(1e-4, 1, 1.0), (1e-5, 700, 1.0), (0.02, 10, 0.3), (4.0, 3, 0.4)])
def test_softmax(scale: float, depth: int, beta: float, golden: Golden) -> None:
    """Rows alike, rows with one great element, and sums of many bits."""
    data = softmax((40, depth), scale, beta)
    graph, rng = tflite.read(data, "test model"), np.random.default_rng(depth)
    widths = rng.choice([1, 100, 10_000, 65_535], (40, 1))
    x = np.clip(rng.normal(size=(40, depth)) * widths, -32768, 32767).astype(np.int16)
    for numerics in Numerics:
        check_host(data, [[x]], [reference.run(graph, [x], numerics)], numerics)
    output = graph.outputs[0]
    expected = golden.run(data, [[x]])[0][output]
    np.testing.assert_array_equal(reference.run(graph, [x], Numerics.TFLITE)[output], expected)


def test_tflm_has_another_table_of_reciprocals() -> None:
    """float32 moves some entries by 1; seen in the tflite-micro package."""
    graph = tflite.read(softmax((2, 3), 0.1), "test model")
    tables = [softmax_int16.reciprocals(context_of(graph, graph.nodes[0], numerics)) for numerics in Numerics]
    assert np.abs(tables[0] - tables[1]).max() == 1 and np.count_nonzero(tables[0] != tables[1]) == 2


# Sums of 64 bits: only where 32 do not suffice for the weights at hand.


def _convolution(build: ModelBuilder, x: Value, w: Array, y: Value, bias: Value) -> None:
    filters = build.constant(w.reshape(2, 1, -1, 1), "int8", 0.01)
    build.op("CONV_2D", [x, filters, bias], [y], "Conv2D", strideH=1, strideW=1, padding=1)


def _depthwise(build: ModelBuilder, x: Value, w: Array, y: Value, bias: Value) -> None:
    filters = build.constant(w.reshape(2, 1, -1).transpose(1, 2, 0)[None], "int8", 0.01, axis=3)
    options = {"strideH": 1, "strideW": 1, "padding": 1, "depthMultiplier": 2}
    build.op("DEPTHWISE_CONV_2D", [x, filters, bias], [y], "DepthwiseConv2D", **options)


def _pointwise(build: ModelBuilder, x: Value, w: Array, y: Value, bias: Value) -> None:
    filters = build.constant(w.reshape(2, 1, 1, -1), "int8", 0.01)
    build.op("CONV_2D", [x, filters, bias], [y], "Conv2D", strideH=1, strideW=1, padding=1)


def _dense(build: ModelBuilder, x: Value, w: Array, y: Value, bias: Value) -> None:
    filters = build.constant(w, "int8", 0.01)
    build.op("FULLY_CONNECTED", [x, filters, bias], [y], "FullyConnected", keepNumDims=True)


def _transposed(build: ModelBuilder, x: Value, w: Array, y: Value, bias: Value) -> None:
    filters = build.constant(w.reshape(2, 1, 1, -1), "int8", 0.01)
    shape = build.constant(y.shape, "int32")
    build.op("TRANSPOSE_CONV", [shape, filters, x, bias], [y], "TransposeConv", strideH=1, strideW=1, padding=1)


LAYERS: dict[str, tuple[Callable[..., None], bool]] = {
    "conv_2d": (_convolution, True),
    "depthwise_conv_2d": (_depthwise, True),
    "pointwise": (_pointwise, False),
    "fully_connected": (_dense, False),
    "transpose_conv": (_transposed, False),
}
"""What adds one, and whether its weights lie along the width of the input, else along its channels."""


def one_layer(kind: str, w: Array, bias: Sequence[int], out_scale: float = 0.005, **changes: Any) -> bytes:
    """Two filters of weights w [2, n] over n inputs."""
    add, along_width = LAYERS[kind]
    build = ModelBuilder(activations="int16")
    shape = (1, 1, w.shape[1], 1) if along_width else (1, 1, 1, w.shape[1])
    x = build.input(shape, "int16", changes.get("scale", 0.001), changes.get("zero_point", 0))
    bias_scale = np.float32(changes.get("scale", 0.001)) * np.float32(0.01)
    constant = build.constant(bias, changes.get("bias_type", "int64"), bias_scale)
    add(build, x, w, build.tensor((1, 1, 1, 2), "int16", out_scale), constant)
    return build.finish()


def weights_of(total: int) -> Array:
    """Weights [2, n] of which the first filter has this sum of sizes."""
    full, rest = divmod(total, 128)
    row = np.array([-128] * full + [rest], np.int8)
    return np.stack([row, np.roll(row, 1) // 3]).astype(np.int8)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    ("total", "bias", "wide"), [(65535, 32767, False), (65535, 32768, True), (90000, -(2**33), True)]
)
def test_sums_have_as_many_bits_as_they_need(kind: str, total: int, bias: int, wide: bool, golden: Golden) -> None:
    """32768 * 65535 + 32767 is the greatest int32."""
    data = one_layer(kind, weights_of(total), [bias, -5])
    check_model(data, golden, samples=7)
    assert set(re.findall(r"(int\d+)_t sum", generated(data))) == {"int64" if wide else "int32"}
    assert ("const int64_t *bias" in generated(data)) == (abs(bias) > 2**31)


@pytest.mark.parametrize("kind", LAYERS)
def test_wide_sums_on_boards(kind: str) -> None:
    check_on_boards(one_layer(kind, weights_of(90_000), [2**33, 7], 0.05), BOARDS, samples=4)


@pytest.mark.parametrize("denominator", [98, 640])
def test_dense_scales_next_to_halves(denominator: int, golden: Golden) -> None:
    """Products in float64 that fall on halves: every sum near them."""
    build = ModelBuilder(activations="int16")
    x = build.input((400, 1), "int16", 1.0)
    w = build.constant([[1], [-127], [64]], "int8", 1.0)
    build.op("FULLY_CONNECTED", [x, w], [build.tensor((400, 3), "int16", denominator)], "FullyConnected")
    check_model(build.finish(), golden, samples=8)


def _few_weights(build: ModelBuilder, kind: str, w: Array) -> None:
    """A layer [filters, ..., inputs] of weights `w`."""
    x = build.random_input((1, 7, 6, w.shape[-1]) if w.ndim == 4 else (3, w.shape[-1]))
    weights = build.constant(w, "int8", 0.004)
    bias = build.constant(build.rng.integers(-9000, 9000, len(w)), "int64", np.float32(x.scale) * np.float32(0.004))
    if w.ndim == 4:
        y = build.tensor((1, 7, 6, len(w)), "int16", 4 * x.scale)
        build.op(kind, [x, weights, bias], [y], "Conv2D", strideH=1, strideW=1, padding=0)
    else:
        build.op(kind, [x, weights, bias], [build.tensor((3, len(w)), "int16", x.scale)], "FullyConnected")


def test_weights_of_few_values_and_weights_that_are_mostly_zero() -> None:
    """The plain kernels of packed and of listed weights."""
    for goal, zeros in ((Optimize.FLASH, False), (Optimize.SPEED, True)):
        build = wide_builder(6)
        for kind, shape in (
            ("CONV_2D", (16, 3, 3, 8)),
            ("CONV_2D", (32, 1, 1, 40)),
            ("FULLY_CONNECTED", (32, 40)),
        ):
            w = compressed.few_values(build, shape, 16)
            _few_weights(build, kind, np.where(build.rng.random(shape) < 0.93, 0, w) if zeros else w)
        names = compressed.templates(compressed.check(build, "bluepill_f103c8", goal))
        kept = "sparse" if zeros else "packed"
        assert Counter(names) == {f"conv_2d.{kept}": 1, f"conv_2d.pointwise.{kept}": 2}


@pytest.mark.parametrize("name", ["conv_2d", "depthwise_conv_2d", "fully_connected"])
def test_pairs_of_int16_on_cores_with_dsp(name: str) -> None:
    """Here and in the emulator, at the bounds of their overlap rules; odd channels, pixels and depths, and batches."""
    ranks = (1, 2, 3) if name == "fully_connected" else (4,)
    net = layers(model_of(wide_emitters()[name], 12, ranks, 14, 9, "int16"), "nucleo_l4r5zi")
    names = [choice.variant.name for choice in net.choices]
    assert names.count("int16_dsp") >= 5
    assert check_tight(net, least=0.5) > 3


def test_a_deep_matrix_takes_the_plain_kernel() -> None:
    """A load reaches 4095 bytes; and sums of 64 bits have no such kernel."""
    board = target.load("nucleo_l4r5zi")
    for depth, kind in ((2040, "int16_dsp"), (2041, "c")):
        w = np.ones((2, depth), np.int8)
        result = compiled(one_layer("fully_connected", w, [0, 0], 0.5), board)
        assert compressed.templates(result) == ["matrix.int16.dsp" if kind == "int16_dsp" else "fully_connected"]
    wide = compiled(one_layer("fully_connected", weights_of(66_000), [0, 0], 0.05), board)
    assert compressed.templates(wide) == ["fully_connected"]


CORES = ("portable", "cortex-m4f", "cortex-m55", "avr -mmcu=atmega328p", "rv32imc")


@pytest.mark.parametrize("core", [name for name in DISTINCT if name.startswith(CORES)])
def test_no_warnings_from_any_compiler(core: str, tmp_path: Path) -> None:
    board = replace(target.load("uno"), core=DISTINCT[core])
    sources: list[str] = []
    for family in FAMILIES:
        data = family_model(family, 7, 3, most=6)
        result = compile_model(Model("net", data, tflite.read(data, "net")), board, family)
        unpack_files(result.files, tmp_path)
        sources += result.manifest["sources"]
    for compiler in compilers(DISTINCT[core], tmp_path):
        run([*compiler, *WARNINGS, "-O2", "-Iinclude", "-c", *sources], tmp_path)


@pytest.mark.parametrize("core", ["portable", "cortex-m4f"])
def test_sanitizers_find_nothing(core: str, tmp_path: Path) -> None:
    """One element outside any tensor, or a sum that leaves its bits, is a fault."""
    check_sanitized(family_model("weights", 8, 4, most=6), tmp_path, core)


# Where outputs may lie, which kernels a core takes, what is refused.


def _overlapping(build: ModelBuilder) -> None:
    for emit, shape in (
        ("conv_2d", (1, 6, 5, 3)),
        ("depthwise_conv_2d", (1, 6, 5, 3)),
        ("fully_connected", (3, 8)),
        ("average_pool_2d", (1, 7, 6, 3)),
        ("mean", (1, 5, 4, 3)),
        ("add", (2, 3, 4)),
        ("logistic", (33,)),
        ("leaky_relu", (33,)),
        ("resize_bilinear", (1, 4, 5, 3)),
        ("transpose_conv", (1, 4, 5, 3)),
    ):
        _emit(build, wide_emitters()[emit], shape)


def _emit(build: ModelBuilder, emit: Emit, shape: Sequence[int]) -> None:
    for _ in range(3):
        x = build.random_input(shape)
        build.pool = [x]
        assert emit(build, x)


def test_outputs_lie_over_inputs_as_far_as_the_rules_say() -> None:
    build = wide_builder(8)
    _overlapping(build)
    assert check_tight(layers(build.finish()), least=0.6) > 20


def test_softmax_may_lie_over_its_input() -> None:
    """Beyond its rule it would leave its tables."""
    build = wide_builder(8)
    _emit(build, wide_emitters()["softmax"], (4, 7))
    check_safe(layers(build.finish()))


@pytest.mark.parametrize("board", ["nucleo_l4r5zi", "pico", "bluepill_f103c8", "mps3-an547"])
@pytest.mark.parametrize("family", ["weights", "sums", "windows"])
def test_kernels_of_a_core_are_for_int8(board: str, family: str) -> None:
    """Unless they say that they take int16."""
    graph = passes.run(tflite.read(family_model(family, 5, 4), "net"))
    chosen = [choice for choice in choose(graph, Numerics.TFLITE, target.load(board).core) if choice]
    assert len(chosen) > 10
    assert all(not choice.variant.features or choice.variant.wide for choice in chosen)


def test_nodes_are_wide_by_their_activations() -> None:
    graph = tflite.read(one_layer("fully_connected", weights_of(500), [0, 0]), "net")
    assert context_of(graph, graph.nodes[0], Numerics.TFLITE).wide
    assert SPECS["fully_connected"].variants[-1].fits(context_of(graph, graph.nodes[0], Numerics.TFLITE), frozenset())


def test_the_interface_has_its_type() -> None:
    files = compiled(wide_model(1), target.load("nucleo_l4r5zi")).files
    assert "int16_t *net_input_0(void)" in files["include/net.h"]


def refused(data: bytes, *texts: str) -> None:
    """The model is refused in one line that has all `texts`."""
    with pytest.raises(ModelError) as caught:
        passes.run(tflite.read(data, "test model"))
    assert len(caught.value.lines) == 1
    for text in texts:
        assert text in str(caught.value)


def test_what_layers_refuse() -> None:
    w = weights_of(900)
    refused(one_layer("conv_2d", w, [0, 0], zero_point=4), "int16 needs zero point 0, found 4")
    refused(one_layer("conv_2d", w, [0, 0], bias_type="int32"), "found int32, expected int64")
    refused(one_layer("pointwise", w, [0, 0], 1e-8), "channel 0", "found 1000", "expected 0 to 128")
    refused(one_layer("pointwise", w, [2**50, 0]), "can leave 47 bits", "expected <= 70368744177664")
    refused(one_layer("fully_connected", weights_of(66000), [0, 0], 1.0), "found 1e-05, expected 3.05176e-05 to 128")
    build = ModelBuilder(activations="int16")
    x = build.input((4,), "int16", 0.1)
    build.op("ADD", [x, x], [build.tensor((4,), "int8", 0.1)], "Add")
    refused(build.finish(), "element types differ", "int16, int16, int8")


def test_what_sums_and_curves_refuse() -> None:
    build = ModelBuilder(activations="int16")
    x = build.input((4,), "int16", 0.125)
    build.op("ADD", [x, x], [build.tensor((4,), "int16", 0.125)], "Add", potScaleInt16=True)
    refused(build.finish(), "powers of two are not supported", "convert the model again")
    refused(unary("RELU_N1_TO_1", 0.1, 0.1), "element type", "found int16, expected int8")
    refused(unary("TANH", 0.1, 0.1), "output has the wrong scale, found 0.1, expected 1/32768")
    refused(unary("LOGISTIC", 6.0, OUTPUT_SCALE), "input scale is out of range, found 6")
    refused(softmax((2, 3), 20.0), "beta times the input's scale is out of range, found 1 * 20")
    refused(softmax((1, 65536), 0.1), "too many elements in a row, found 65536, expected at most 65535")
