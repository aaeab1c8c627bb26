"""Real models: the example in the tree, and those in the folder that TINYGEN_MODELS names, when it is set."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tinygen.driver import compile_model, load
from tinygen.quant import Numerics
from tinygen.verify.compare import verify
from tinygen.verify.samples import random_samples, read_samples

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*/*.tflite"))
FOREIGN = sorted(Path(os.environ["TINYGEN_MODELS"]).glob("*.tflite")) if os.environ.get("TINYGEN_MODELS") else []


@pytest.mark.parametrize("numerics", list(Numerics), ids=lambda n: n.value)
@pytest.mark.parametrize("path", EXAMPLES + FOREIGN, ids=lambda p: p.stem)
def test_every_layer_is_bit_exact(path: Path, numerics: Numerics) -> None:
    result = compile_model(load(path), numerics=numerics)
    verdict = verify(result, random_samples(result.model.graph, 20))
    assert verdict.difference is None, str(verdict.difference)
    assert verdict.samples == 20


def test_digits_on_its_test_set() -> None:
    folder = ROOT / "examples" / "digits"
    result = compile_model(load(folder / "digits.tflite"))
    samples, labels = read_samples(result.model.graph, folder / "test.npz")
    verdict = verify(result, samples, labels)
    assert verdict.difference is None and verdict.accuracy is not None
    assert verdict.accuracy > 0.96


KEYWORDS = [path for path in FOREIGN if path.stem == "kws_ref_model"]
KEYWORD_DATA = [path for model in KEYWORDS for path in model.parent.parent.parent.glob("datasets/kws01.npz")]


@pytest.mark.parametrize("numerics", list(Numerics), ids=lambda n: n.value)
@pytest.mark.parametrize("path", KEYWORD_DATA, ids=lambda p: p.stem)
def test_keywords_on_real_features(path: Path, numerics: Numerics) -> None:
    result = compile_model(load(KEYWORDS[0]), numerics=numerics)
    samples, labels = read_samples(result.model.graph, path)
    verdict = verify(result, samples, labels)
    assert verdict.difference is None, str(verdict.difference)
    assert verdict.samples == 500 and verdict.correct == 449
