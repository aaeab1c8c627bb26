"""Random graphs over all operators through the three oracles.

The long form, 5,000 models: pytest --long -n 2 tests/test_random_models.py -k long
"""

from __future__ import annotations

import pytest

from tests.oracles import check_model
from tests.random_models import emitters, random_model
from tinygen import ops
from tinygen.verify.golden import Golden

FOLDED_ONLY = {"shape"}
"""Operators without a kernel: their tests are those of constant folding."""


def test_every_operator_can_be_emitted() -> None:
    assert set(emitters()) == set(ops.SPECS) - FOLDED_ONLY


@pytest.mark.parametrize("seed", range(200))
def test_random_model(golden: Golden, seed: int) -> None:
    check_model(random_model(seed), golden, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(200, 5200))
def test_random_model_long(golden: Golden, seed: int) -> None:
    check_model(random_model(seed, 20), golden, seed)
