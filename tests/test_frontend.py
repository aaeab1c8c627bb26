"""Foreign bytes: what is wrong with a file is said in one clear line, and nothing else happens."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.modelbuilder import ModelBuilder, pack, unpack
from tests.oracles import check_model
from tests.random_models import random_model
from tests.small_models import convolution, two_convolutions
from tinygen import passes
from tinygen.driver import Model, compile_model
from tinygen.errors import ModelError
from tinygen.frontend import tflite
from tinygen.verify.golden import Golden


def problem_of(data: bytes) -> str:
    """The message that reading and checking `data` ends with."""
    with pytest.raises(ModelError) as caught:
        passes.run(tflite.read(data, "m.tflite"))
    message = str(caught.value)
    assert "Traceback" not in message
    return message


def changed(change: Callable[[schema.ModelT], None]) -> bytes:
    """The file of two convolutions with `change` made to its schema object."""
    model = unpack(two_convolutions())
    change(model)
    return pack(model)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 a zip file, say", b"\x00" * 100])
def test_not_a_flatbuffer(data: bytes) -> None:
    message = problem_of(data)
    assert message.startswith("m.tflite: not a .tflite file, found ")
    assert "give the file that the TensorFlow Lite converter wrote" in message


@pytest.mark.parametrize("part", range(50))
def test_truncated(part: int) -> None:
    whole = two_convolutions()
    message = problem_of(whole[: len(whole) * part // 50])
    assert "not a .tflite file" in message or "damaged .tflite file" in message, message


def test_offsets_pointing_outside() -> None:
    """Every 32-bit word in turn made huge: either the file still means something, or the message says what is wrong."""
    whole = two_convolutions()
    refused = 0
    for position in range(0, len(whole) - 4, 4):
        for value in (0x7FFFFFF0, 0xFFFFFFFF, 0x80000000):
            data = whole[:position] + struct.pack("<I", value) + whole[position + 4 :]
            try:
                passes.run(tflite.read(data, "m.tflite"))
            except ModelError as problem:
                refused += bool(str(problem))
    assert refused > 100


@pytest.mark.parametrize("seed", range(20))
def test_random_damage(seed: int) -> None:
    """One byte or word of a random model changed: it compiles or a ModelError says why not, never another exception."""
    check_damage(seed, 60)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20, 520))
def test_random_damage_long(seed: int) -> None:
    check_damage(seed, 300)


def check_damage(seed: int, count: int) -> None:
    """`count` damaged copies of the random model `seed`."""
    rng = np.random.default_rng(seed)
    whole = random_model(seed)
    for _ in range(count):
        data = bytearray(whole)
        position = int(rng.integers(8, len(data)))
        if rng.random() < 0.5:
            data[position] = int(rng.integers(256))
        else:
            value = int(rng.choice([0, 1, 2, 255, 65536, 2**31 - 1, 2**31, 2**32 - 1]))
            data[position : position + 4] = struct.pack("<I", value)
        try:
            compile_model(Model("m.tflite", bytes(data), tflite.read(bytes(data), "m.tflite")))
        except ModelError as problem:
            assert str(problem)


def test_tables_without_end() -> None:
    """A list that names one table a million times is refused by the visit budget, in bounded time."""
    model = unpack(two_convolutions())
    data = bytearray(pack(model))
    root = struct.unpack_from("<I", data, 0)[0]
    vtable = root - struct.unpack_from("<i", data, root)[0]
    field = root + struct.unpack_from("<H", data, vtable + 4 + 2 * 2)[0]
    vector = field + struct.unpack_from("<I", data, field)[0]
    first = vector + 4 + struct.unpack_from("<I", data, vector + 4)[0]
    count = 4000
    start = len(data) + (-len(data)) % 4
    data += b"\0" * (start - len(data)) + struct.pack("<I", count)
    for index in range(count):
        position = start + 4 + 4 * index
        data += struct.pack("<i", first - position)
    struct.pack_into("<I", data, field, start - field)
    assert "damaged .tflite file" in problem_of(bytes(data))


def test_unknown_schema_version() -> None:
    def change(model: schema.ModelT) -> None:
        model.version = 9

    assert problem_of(changed(change)) == "m.tflite: unknown schema version, found 9, expected 3"


def test_float_model() -> None:
    build = ModelBuilder()
    x = build.input((1, 4, 4, 1), "float32")
    w = build.constant(np.ones((2, 3, 3, 1)), "float32")
    b = build.constant(np.zeros(2), "float32")
    y = build.tensor((1, 4, 4, 2), "float32")
    build.op("CONV_2D", [x, w, b], [y], "Conv2D", strideH=1, strideW=1)
    message = problem_of(build.finish())
    assert message == (
        "operator 0 CONV_2D: float model, found float32 inputs in all 1 operators, expected int8; "
        "quantise it: full integer quantisation with a representative dataset"
    )


def test_dynamic_shape() -> None:
    def change(model: schema.ModelT) -> None:
        model.subgraphs[0].tensors[0].shapeSignature = [-1, -1, -1, 2]

    message = problem_of(changed(change))
    assert message == (
        "input tensor 0 't0': dynamic shape, found [-1, -1, -1, 2], expected sizes known at compile time; "
        "give the model's input a fixed shape and convert it again"
    )


def test_open_batch_is_one() -> None:
    def change(model: schema.ModelT) -> None:
        model.subgraphs[0].tensors[0].shapeSignature = [-1, 6, 5, 2]

    assert tflite.read(changed(change), "m.tflite").tensors[0].shape == (1, 6, 5, 2)


def test_unsupported_operators_are_listed_together() -> None:
    build = ModelBuilder()
    x = build.random_input((1, 4))
    y, z = build.random_output((1, 4)), build.random_output((1, 4))
    build.op("HASHTABLE_LOOKUP", [x], [y])
    build.op("CUSTOM", [y], [z])
    build.codes[1].customCode = "MyOp"
    lines = problem_of(build.finish()).splitlines()
    remedy = "operator is not supported; replace it in the model; `tinygen ops` lists what is supported"
    assert lines == [f"operator 0 HASHTABLE_LOOKUP: {remedy}", f"operator 1 custom 'MyOp': {remedy}"]


@pytest.mark.parametrize("batch", [-1, 1])
def test_operators_of_an_open_batch(batch: int) -> None:
    build = ModelBuilder()
    build.op("BATCH_TO_SPACE_ND", [build.random_input((1, 4))], [build.random_output((1, 4))])
    build.tensors[build.inputs[0].index].shapeSignature = [batch, 4]
    remedy = (
        "convert the model with a batch of 1, as by keras.Input(shape, batch_size=1)" if batch < 0 else "replace it"
    )
    assert problem_of(build.finish()).startswith(f"operator 0 BATCH_TO_SPACE_ND: operator is not supported; {remedy}")


def test_missing_quantisation() -> None:
    def change(model: schema.ModelT) -> None:
        model.subgraphs[0].tensors[0].quantization = None

    message = problem_of(changed(change))
    assert message.startswith("operator 0 CONV_2D: tensor 't0' needs one scale and zero point, found no quantisation")


def test_wrong_bias_scale() -> None:
    build = ModelBuilder()
    convolution(build, build.input((1, 4, 4, 1), "int8", 0.02, 0), bias_scale=3.0)
    message = problem_of(build.finish())
    assert message.startswith("operator 0 CONV_2D: bias 't2' has the wrong scale (channel 0), found 0.0006, expected ")


def test_zero_sized_tensor() -> None:
    def change(model: schema.ModelT) -> None:
        model.subgraphs[0].tensors[0].shape = [1, 0, 5, 2]

    assert problem_of(changed(change)) == (
        "tensor 0 't0': tensor has no elements, found [1, 0, 5, 2], expected every size at least 1"
    )


def test_oversized_tensor() -> None:
    def change(model: schema.ModelT) -> None:
        model.subgraphs[0].tensors[0].shape = [1, 70000, 70000, 2]

    message = problem_of(changed(change))
    assert message.startswith("tensor 0 't0': tensor is too large, found 9800000000 bytes, expected <= 2147483647")


def test_constant_of_the_wrong_size() -> None:
    def change(model: schema.ModelT) -> None:
        model.buffers[1].data = model.buffers[1].data[:-1]

    assert problem_of(changed(change)).startswith("tensor 1 't1': constant has the wrong size, found 71 bytes")


@pytest.mark.parametrize("where", ["inputs", "outputs"])
def test_tensor_index_out_of_range(where: str) -> None:
    def change(model: schema.ModelT) -> None:
        setattr(model.subgraphs[0].operators[0], where, [77])

    assert "operator 0 CONV_2D" in problem_of(changed(change))


def test_operators_out_of_order() -> None:
    def change(model: schema.ModelT) -> None:
        model.subgraphs[0].operators.reverse()

    assert "input is read before anything computes it" in problem_of(changed(change))


def test_no_operators() -> None:
    def change(model: schema.ModelT) -> None:
        model.subgraphs[0].operators = []

    assert "model computes nothing" in problem_of(changed(change))


def test_int4_constants_of_the_wrong_size() -> None:
    """Two of them are a byte."""

    def change(model: schema.ModelT) -> None:
        model.subgraphs[0].tensors[1].type = schema.TensorType.INT4

    assert "tensor 1 't1': constant has the wrong size, found 72 bytes, expected 36" in problem_of(changed(change))


def test_int4_that_are_computed_are_refused_by_name() -> None:
    def change(model: schema.ModelT) -> None:
        model.subgraphs[0].tensors[0].type = schema.TensorType.INT4

    assert "tensor 0 't0': element type is not supported, found int4" in problem_of(changed(change))


def test_quantized_dimension_beyond_the_rank() -> None:
    """Old converters write 3 for 1-D biases: read as the one axis there is. The interpreter refuses such files."""

    def change(model: schema.ModelT) -> None:
        quantization = model.subgraphs[0].tensors[2].quantization
        quantization.scale = [float(quantization.scale[0])] * 4
        quantization.zeroPoint = [0] * 4
        quantization.quantizedDimension = 3

    quant = tflite.read(changed(change), "m.tflite").tensors[2].quant
    assert quant is not None and quant.axis == 0
    check_model(changed(change), None)


def test_old_operator_codes(golden: Golden) -> None:
    """Files from before the integer code keep it in the deprecated byte alone."""

    def change(model: schema.ModelT) -> None:
        for code in model.operatorCodes:
            code.builtinCode = 0

    check_model(changed(change), golden)


def test_weights_shared_between_operators(golden: Golden) -> None:
    """One constant, two readers."""
    build = ModelBuilder()
    x = build.input((1, 4, 4, 2), "int8", 0.05, -3)
    y = convolution(build, x, filters=2)
    z = build.tensor(y.shape, "int8", 0.05, -3)
    build.op("CONV_2D", [y], [z], "Conv2D", strideH=1, strideW=1)
    build.operators[1].inputs = [y.index, *build.operators[0].inputs[1:]]
    check_model(build.finish(), golden)


def test_external_buffers(golden: Golden) -> None:
    """Constants that lie behind the flatbuffer, by offset and size."""
    model = unpack(two_convolutions())
    raw = bytes(model.buffers[1].data)
    model.buffers[1].data = None
    model.buffers[1].size = len(raw)
    model.buffers[1].offset = 2
    size = len(pack(model))
    model.buffers[1].offset = size + (-size) % 16
    data = pack(model)
    data += b"\0" * (model.buffers[1].offset - len(data)) + raw
    assert tflite.read(data, "m.tflite").tensors[1].data.tobytes() == raw
    check_model(data, golden)


def test_second_subgraph(golden: Golden) -> None:
    """Any subgraph can be compiled; the others are left alone."""
    model = unpack(two_convolutions())
    build = ModelBuilder(np.random.default_rng(5))
    convolution(build, build.input((1, 3, 3, 1), "int8", 0.02, 4))
    other = unpack(build.finish())
    offset = len(model.buffers)
    for tensor in other.subgraphs[0].tensors:
        tensor.buffer = tensor.buffer + offset if tensor.buffer else 0
    model.buffers += other.buffers
    for operator in other.subgraphs[0].operators:
        operator.opcodeIndex += len(model.operatorCodes)
    model.operatorCodes += other.operatorCodes
    model.subgraphs += other.subgraphs
    data = pack(model)
    graph = tflite.read(data, "m.tflite", 1)
    assert graph.tensors[0].shape == (1, 3, 3, 1)
    check_model(tflite.with_first_subgraph(data, 1), golden)
    with pytest.raises(ModelError, match="no such subgraph, found 2, expected 0 to 1"):
        tflite.read(data, "m.tflite", 2)
