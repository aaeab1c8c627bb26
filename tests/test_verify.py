"""Verification must be able to fail: every kind of difference is found and named."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tinygen
from tests.channel_models import convolve, weights
from tests.modelbuilder import ModelBuilder
from tests.small_models import two_convolutions
from tinygen.driver import Compiled, Model, compile_model
from tinygen.errors import ToolError
from tinygen.frontend import tflite
from tinygen.quant import Numerics
from tinygen.verify.compare import verify
from tinygen.verify.golden import Golden
from tinygen.verify.host import HostModel
from tinygen.verify.samples import random_samples


def compiled() -> Compiled:
    """Two convolutions, compiled."""
    data = two_convolutions()
    return compile_model(Model("net.tflite", data, tflite.read(data, "net.tflite")))


def with_source(result: Compiled, old: str, new: str) -> Compiled:
    """The compiled model with one piece of its C replaced."""
    source = result.files["src/net.c"]
    assert old in source
    return replace(result, files={**result.files, "src/net.c": source.replace(old, new, 1)})


def test_same() -> None:
    result = compiled()
    seen: list[int] = []
    verdict = verify(result, random_samples(result.model.graph, 10), progress=seen.append)
    assert verdict.difference is None and verdict.samples == 10 and verdict.layers == 2
    assert seen == list(range(1, 11))
    elements_a_sample = 2 * (120 + 90) + 90
    assert verdict.elements == 10 * elements_a_sample


def test_wrong_kernel_is_named() -> None:
    result = with_source(compiled(), "tg_clamp(sum_1,", "tg_clamp(sum_1 + (out_y == 2 && out_x == 3),")
    verdict = verify(result, random_samples(result.model.graph, 5))
    difference = verdict.difference
    assert difference is not None
    assert difference.layer == "operator 0 CONV_2D" and difference.element == (0, 2, 3, 1)
    assert difference.ours == "the generated C" and difference.differing == 1 and difference.elements == 120
    assert str(difference).startswith(
        "the generated C differs from the NumPy reference in operator 0 CONV_2D, tensor 't3'[0][2][3][1], sample "
    )


def test_wrong_channel_is_named_as_in_the_file() -> None:
    """Channel 1 of the file's tensor is dropped: the second that the C computes is channel 2."""
    build = ModelBuilder()
    filters = weights(build, 4, 1, 1, 2)
    filters[1] = 0
    x = convolve(build, build.input((1, 6, 5, 2), "int8", 0.05, 3), filters, [10, 20, 30, 40])
    convolve(build, x, weights(build, 2, 1, 1, 4), [1, 2])
    data = build.finish()
    result = compile_model(Model("net.tflite", data, tflite.read(data, "net.tflite")))
    samples = random_samples(result.model.graph, 2)
    verdict = verify(result, samples)
    assert verdict.difference is None
    assert verdict.elements == 2 * (30 * (4 + 2) + 30 * (3 + 2) + 30 * 2)
    offset = result.plan.tensors[x.index] + 7 * 3 + 1
    spoilt = with_source(result, "TG_LAYER_DONE(0);", f"arena[{offset}] ^= 1;\n    TG_LAYER_DONE(0);")
    difference = verify(spoilt, samples).difference
    assert difference is not None and difference.layer == "operator 0 CONV_2D"
    assert difference.element == (0, 1, 2, 2) and (difference.differing, difference.elements) == (1, 90)


def test_output_overwritten_after_its_layer_is_found() -> None:
    """Each layer is right as it ends, but the arena is spoilt before the inference does."""
    result = compiled()
    last = "TG_LAYER_DONE(1);"
    offset = result.plan.tensors[result.graph.outputs[0]]
    spoilt = with_source(result, last, f"{last}\n    arena[{offset}] = (int8_t)(arena[{offset}] + 1);")
    difference = verify(spoilt, random_samples(spoilt.model.graph, 3)).difference
    assert difference is not None and difference.ours == "the generated C after its last layer"


def test_reference_and_interpreter_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose bytes differ from the graph that was read: the interpreter then disagrees with NumPy."""
    result = compiled()
    other = replace(result, model=replace(result.model, data=two_convolutions(seed=1)))
    difference = verify(other, random_samples(other.model.graph, 3)).difference
    assert difference is not None and difference.theirs == "the interpreter"
    assert difference.layer == "operator 0 CONV_2D"


def test_numerics_profile_of_the_c_is_its_own() -> None:
    data = two_convolutions()
    model = Model("net.tflite", data, tflite.read(data, "net.tflite"))
    result = compile_model(model, numerics=Numerics.TFLM)
    assert verify(result, random_samples(model.graph, 3)).difference is None


def test_interpreter_that_refuses(golden: Golden) -> None:
    with pytest.raises(ToolError, match="the reference interpreter refuses this model, found "):
        golden.run(b"nothing at all", [[]])


def test_interpreter_that_crashes() -> None:
    """The process dies: one line says so, and the next model gets a new process."""
    data = two_convolutions()
    samples = random_samples(tflite.read(data, "net.tflite"), 1)
    with Golden() as worker:
        worker.run(data, samples)
        assert worker._worker is not None
        worker._worker.kill()
        worker._worker.wait()
        with pytest.raises(
            ToolError, match="the reference interpreter crashed or hung on this model; `tinygen verify --no-"
        ):
            worker.run(data, samples)
        assert len(worker.run(data, samples)) == 1


def test_interpreter_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of no time at all: the worker is stopped before it can answer."""
    monkeypatch.setattr("tinygen.verify.golden.LIMIT_SECONDS", 0)
    data = two_convolutions()
    samples = random_samples(tflite.read(data, "net.tflite"), 1)
    with Golden() as worker, pytest.raises(ToolError, match="crashed or hung"):
        worker.run(data, samples)


def test_verify_in_a_plain_script(tmp_path: Path) -> None:
    """The Python API needs no `if __name__ == "__main__"` around it."""
    (tmp_path / "net.tflite").write_bytes(two_convolutions())
    (tmp_path / "script.py").write_text(
        "from tinygen.driver import compile_model, load\n"
        "from tinygen.verify.compare import verify\n"
        "from tinygen.verify.samples import random_samples\n"
        "result = compile_model(load('net.tflite'))\n"
        "print(verify(result, random_samples(result.model.graph, 2)).difference)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(tinygen.__file__).parent.parent)}
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "None\n" and done.stderr == ""


def test_compiler_that_fails(tmp_path: Path) -> None:
    result = with_source(compiled(), "void net_invoke(void)", "void net_invoke(void) nonsense")
    with pytest.raises(ToolError, match=r"the host compiler rejected the generated C, found .*error"):
        HostModel(result, tmp_path)


def test_random_samples_include_the_extremes() -> None:
    build = ModelBuilder()
    x = build.random_input((1, 4))
    graph_data = two_convolutions()
    graph = tflite.read(graph_data, "net.tflite")
    low, high, both, spread = (sample[0] for sample in random_samples(graph, 4, seed=3))
    assert np.all(low == -128) and np.all(high == 127) and set(np.unique(both)) == {-128, 127}
    assert len(np.unique(spread)) > 30 and x.dtype == "int8"
    again = random_samples(graph, 4, seed=3)
    np.testing.assert_array_equal(spread, again[3][0])


def test_random_reals_surround_the_steps_of_what_reads_them() -> None:
    build = ModelBuilder()
    x = build.input((1, 500), "float32")
    build.op("QUANTIZE", [x], [build.tensor((1, 500), "int8", 0.25, -100)])
    graph = tflite.read(build.finish(), "test model")
    low, high, beyond, spread = (sample[0] / np.float32(0.25) - 100 for sample in random_samples(graph, 4))
    assert low.max() < -128 and high.min() > 127
    assert beyond.min() < -1000 and beyond.max() > 1000
    assert spread.min() < -128 and spread.max() > 127
    assert np.any(spread % 1 == 0.5) and np.any(spread % 1 == 0) and np.any((spread % 0.5 > 0) & (spread % 0.5 < 1e-3))
