from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinygen import driver, reference
from tinygen.errors import DataError
from tinygen.quant import Numerics
from tinygen.quantize.data import Data
from tinygen.quantize.evaluate import Score, outputs_tflite, score_tflite

DIGITS = Path(__file__).parents[2] / "examples" / "digits"


def _test_set(model: driver.Model) -> tuple[Data, np.ndarray]:
    """Real-valued samples of the example's test set, and what its file holds for them."""
    file = np.load(DIGITS / "test.npz")
    tensor = model.graph.tensors[model.graph.inputs[0]]
    assert tensor.quant is not None
    scale, zero_point = tensor.quant.scale[0], tensor.quant.zero_point[0]
    quantised = file["x"][:40]
    x = ((quantised.astype(np.float32) - zero_point) * scale).astype(np.float32)
    return Data(x, file["y"][:40].astype(np.int64), "test.npz"), quantised


def test_a_tflite_file_answers_as_the_numpy_reference() -> None:
    model = driver.load(DIGITS / "digits.tflite")
    data, quantised = _test_set(model)
    answers = outputs_tflite(model.data, data)
    for sample, answer in zip(quantised, answers, strict=True):
        values = reference.run(model.graph, [sample[np.newaxis]], Numerics.TFLITE)
        np.testing.assert_array_equal(answer, values[model.graph.outputs[0]][0])
    score = score_tflite(model.data, data)
    assert score == Score(int((answers.argmax(axis=1) == data.y).sum()), 40)
    assert score.correct >= 37


def test_a_score_is_a_share_with_its_standard_error() -> None:
    score = Score(90, 100)
    assert score.accuracy == 0.9
    assert score.standard_error == pytest.approx(0.03)
    assert str(score) == "90.0 % ± 3.0"


def test_samples_of_another_shape_are_refused() -> None:
    data = Data(np.zeros((2, 7, 8, 1), np.float32), np.zeros(2, np.int64), "x.npz")
    with pytest.raises(DataError, match=r"x\.npz: .* found \[7, 8, 1\], expected \[8, 8, 1\]"):
        score_tflite((DIGITS / "digits.tflite").read_bytes(), data)
