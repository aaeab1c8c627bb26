"""Problems and outcomes for tests of what surrounds the evaluation of candidates."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from tests.modelbuilder import ModelBuilder
from tests.small_models import two_convolutions
from tinygen.budget import Memory
from tinygen.optimize.candidate import Candidate
from tinygen.optimize.limits import Limits
from tinygen.optimize.model_file import KERAS, ModelFile
from tinygen.optimize.outcome import Baseline, Cost, Outcome
from tinygen.optimize.pool import Pool
from tinygen.optimize.task import Problem
from tinygen.quantize.data import CALIBRATION, TEST, TRAINING, VALIDATION, Data
from tinygen.quantize.evaluate import Score

BASELINE = Baseline(Score(95, 100), 40_000)
FLASH_BYTES = 64 * 1024


def float_dense(seed: int = 0, inputs: int = 6, classes: int = 3) -> bytes:
    """A float .tflite of one dense layer and a softmax."""
    build = ModelBuilder(np.random.default_rng(seed))
    x = build.input((1, inputs), "float32")
    weights = build.constant(build.rng.normal(size=(classes, inputs)), "float32")
    bias = build.constant(build.rng.normal(size=classes), "float32")
    dense, y = build.tensor((1, classes), "float32"), build.tensor((1, classes), "float32")
    build.op("FULLY_CONNECTED", [x, weights, bias], [dense], "FullyConnected")
    build.op("SOFTMAX", [dense], [y], "Softmax", beta=1.0)
    return build.finish()


def problem(limits: Limits | None = None, kind: str = KERAS, train: bool = True, seed: int = 0) -> Problem:
    """A problem of which only the digests count; its test set suits `two_convolutions`."""
    rng = np.random.default_rng(7)
    roles = (TRAINING, CALIBRATION, VALIDATION, TEST) if train else (CALIBRATION, VALIDATION, TEST)
    sets = {
        role: Data(rng.normal(size=(12, 6, 5, 2)).astype(np.float32), rng.integers(0, 3, 12), f"{role}.npz")
        for role in roles
    }
    model = ModelFile(f"net.{kind}", kind, b"a model", (6, 5, 2), 3, ("conv", "dense"))
    return Problem(model, sets, limits or Limits(flash_bytes=FLASH_BYTES, max_drop=0.02), seed)


def cost(flash_bytes: int, ram_bytes: int = 4096, milliseconds: float | None = 12.5) -> Cost:
    """A cost on a board with 64 kB of flash and 20 kB of RAM."""
    memories = (Memory("flash", "flash", flash_bytes, FLASH_BYTES), Memory("RAM", "RAM", ram_bytes, 20 * 1024))
    return Cost(
        "board", "the model alone", "speed", "gcc 12", flash_bytes, ram_bytes, flash_bytes // 2, milliseconds, memories
    )


def outcome(candidate: Candidate, correct: int, flash_bytes: int, ram_bytes: int = 4096) -> Outcome:
    """An outcome with a model that can be read."""
    score = Score(correct, 100)
    return Outcome(candidate, score, cost(flash_bytes, ram_bytes), seconds=1.5, model=two_convolutions(correct))


@contextmanager
def threads(jobs: int) -> Iterator[Pool]:
    """A pool in this process, where functions can be replaced."""
    pool = Pool(jobs, lambda: ThreadPoolExecutor(jobs))
    try:
        yield pool
    finally:
        pool.close(wait=True)
