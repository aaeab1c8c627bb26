"""A .tflite file as what it costs on a Cortex-M4, after the proof that the generated code computes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tinygen import driver, target
from tinygen.budget import weigh
from tinygen.footprint.measure import measure
from tinygen.profile.profile import profile
from tinygen.variants import Optimize

BOARD = "nucleo_l4r5zi"
SAMPLES = 2


def cost(path: Path) -> dict[str, int]:
    """MACs and RAM; constants and cycles, with weights as bytes (`speed`) and packed (`compact`)."""
    board = target.load(BOARD)
    found: dict[str, int] = {}
    for goal in (Optimize.SPEED, Optimize.COMPACT):
        compiled = driver.compile_model(driver.load(path), board, "model", form="platformio", optimize=goal)
        budget = weigh(compiled, board, measure(compiled, board))
        counted = profile(compiled, board, budget, seed=0)
        found[f"cycles_{goal.value}"] = int(counted.total.cycles)
        found[f"flash_{goal.value}"] = budget.footprint.flash_bytes
        found[f"constants_{goal.value}"] = budget.need.constant_bytes
        found["macs"] = sum(layer.macs for layer in counted.layers)
        found["ram"] = budget.footprint.ram_bytes
    return found


def verify(path: Path) -> None:
    """Raise CalledProcessError unless `tinygen verify` finds every layer bit-exact, on this computer and the board."""
    command = [sys.executable, "-m", "tinygen", "verify", str(path), "--samples", str(SAMPLES)]
    subprocess.run([*command, "--board", BOARD, "--emulate"], check=True, stdout=subprocess.DEVNULL)
