"""The example application: run on an emulated Arduino, and what it prints compared with the NumPy reference."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np

from tinygen import reference
from tinygen.driver import Model
from tinygen.quant import Numerics


def serial_output(elf: Path, mcu: str = "atmega328p", seconds: float = 20) -> str:
    """What an emulated board with that MCU at 16 MHz (an Uno's) says on its serial port until its first line ends."""
    command = ["stdbuf", "-o0", "-e0", "simavr", "-m", mcu, "-f", "16000000", str(elf)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        timer = subprocess.Popen(["sh", "-c", f"sleep {seconds}; kill {process.pid} 2>/dev/null"])
        try:
            for line in process.stdout:
                if "in us" in line:
                    return line
        finally:
            timer.kill()
            timer.wait()
            process.kill()
    raise AssertionError("the sketch printed nothing")


def assert_prints_the_reference(line: str, model: Model) -> None:
    """The line has the NumPy reference's outputs for zeros, in decimals that tell all stored values apart."""
    printed = [float(text) for text in re.findall(r"-?\d+\.\d{4}", line)]
    source, output = (model.graph.tensors[i] for i in (model.graph.inputs[0], model.graph.outputs[0]))
    zeros = np.full(source.shape, source.zero_point, np.int8)
    expected = reference.run(model.graph, [zeros], Numerics.TFLITE)[output.id].ravel()
    assert output.scale > 0.001
    assert [round(value / output.scale) + output.zero_point for value in printed] == expected.tolist()
