from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.quantize.exact import assert_bit_exact, converted, quantization, weighted
from tests.quantize.networks import digits, trained
from tinygen.errors import DataError, QuantizeError
from tinygen.quantize.calibrate import calibrate_tflite
from tinygen.quantize.evaluate import score_keras, score_tflite
from tinygen.quantize.float_tflite import quantize_float_tflite
from tinygen.quantize.fp16 import to_float16
from tinygen.quantize.tflite_file import TfliteFile, name_of, scales_of
from tinygen.quantize.weights import integer_weights
from tinygen.verify.golden import Golden

X = digits().calibration.x
WITHOUT_TENSORFLOW = """
import sys
sys.modules.update(dict.fromkeys(("tensorflow", "keras", "sklearn")))
import numpy as np
from pathlib import Path
from tinygen.quantize.float_tflite import quantize_float_tflite
model, samples = Path(sys.argv[1]), np.load(sys.argv[2])
Path(sys.argv[3]).write_bytes(quantize_float_tflite(model.read_bytes(), samples, weights=4))
"""


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"per_channel": False, "equalize": True},
        {"symmetric": True, "method": "mse"},
        {"weights": 4, "correct_bias": True},
    ],
    ids=str,
)
def test_every_model_is_computed_bit_for_bit(settings: dict[str, Any], golden: Golden) -> None:
    data = quantize_float_tflite(converted(), X[:20], **settings)
    assert_bit_exact(data, golden)
    assert data == quantize_float_tflite(converted(), X[:20], **settings)


def test_it_answers_as_the_float_model() -> None:
    # as test_quantize: 3 of the 630 test samples are half a point
    test = digits().test
    data = quantize_float_tflite(converted(), X)
    assert abs(score_tflite(data, test).correct - score_keras(trained(), test).correct) <= 3


def test_ranges_and_widths_are_those_asked_for() -> None:
    original = converted()
    data = quantize_float_tflite(original, X, weights={"wide": 4}, method="percentile")
    ranges = calibrate_tflite(original, X, "percentile")
    for node in TfliteFile(data).nodes():
        if node.kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "FULLY_CONNECTED"):
            low, high = ranges[name_of(node.outputs[0])]
            np.testing.assert_allclose(quantization(node.outputs[0])[0], (max(high, 0) - min(low, 0)) / 255, rtol=1e-5)
    types = {layer: node.weights.type for layer, node in weighted(data).items()}
    assert [layer for layer, kind in types.items() if kind == schema.TensorType.INT4] == ["wide"]


def test_weights_are_the_nearest_on_their_grid() -> None:
    original = converted()
    file, source = TfliteFile(quantize_float_tflite(original, X[:5])), TfliteFile(original)
    for node, other in zip(file.weighted(), source.weighted(), strict=True):
        shape = [-1 if axis == node.channel_axis else 1 for axis in range(len(node.weights.shape))]
        real = source.constant(other.weights) / scales_of(node.weights).reshape(shape)
        np.testing.assert_allclose(integer_weights(file, node.weights), real, atol=0.5 + 1e-4)


def test_weights_stored_as_float16_are_taken() -> None:
    halved = to_float16(converted())
    data = quantize_float_tflite(halved, X)
    assert abs(score_tflite(data, digits().test).correct - score_tflite(halved, digits().test).correct) <= 3


def test_tensorflow_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "float.tflite").write_bytes(converted())
    np.save(tmp_path / "x.npy", X[:5])
    files = [str(tmp_path / name) for name in ("float.tflite", "x.npy", "int4.tflite")]
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, *files]
    subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[2])
    assert (tmp_path / "int4.tflite").read_bytes() == quantize_float_tflite(converted(), X[:5], weights=4)


def test_what_cannot_be_quantised() -> None:
    original = converted()
    done = quantize_float_tflite(original, X[:2])
    with pytest.raises(QuantizeError, match="x: the model is quantised already, expected a model in floating point"):
        quantize_float_tflite(done, X[:2])
    with pytest.raises(QuantizeError, match=r"not a \.tflite file"):
        quantize_float_tflite(b"PK\x03\x04 something", X)
    with pytest.raises(DataError, match="another shape than the model's input"):
        quantize_float_tflite(original, X[:, :4])
    with pytest.raises(QuantizeError, match="weights cannot have this width, found 2 bits"):
        quantize_float_tflite(original, X, weights=2)
