"""Runs a model on TensorFlow Lite's reference kernels, in a process of its own because foreign files can crash it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import tinygen
from tinygen.errors import ToolError
from tinygen.ir import Array

WORKER = "tinygen.verify.golden_worker"
LIMIT_SECONDS = 600
"""A batch of samples that takes longer counts as hung."""
_WITHOUT = "`tinygen verify --no-interpreter` compares the C with the NumPy reference alone"


class Golden:
    """A worker process with one reference interpreter; a context manager."""

    def __init__(self) -> None:
        self._worker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Golden:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def run(self, model: bytes, samples: Sequence[Sequence[Array]]) -> list[dict[int, Array]]:
        """For each sample, tensor index -> value of every tensor that the interpreter holds.

        Raises ToolError when the interpreter refuses the model, crashes or hangs; the next run then gets a new process.
        """
        try:
            values, problem = self._ask((model, samples))
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            self._stop()
            raise ToolError("the reference interpreter crashed or hung on this model", remedy=_WITHOUT) from None
        if problem:
            raise ToolError("the reference interpreter refuses this model", found=problem, remedy=_WITHOUT)
        found: list[dict[int, Array]] = values
        return found

    def _ask(self, request: Any) -> Any:
        if self._worker is None:
            self._worker = _start()
        assert self._worker.stdin is not None and self._worker.stdout is not None  # both are pipes
        limit = threading.Timer(LIMIT_SECONDS, self._worker.kill)
        limit.start()
        try:
            pickle.dump(request, self._worker.stdin)
            self._worker.stdin.flush()
            return pickle.load(self._worker.stdout)
        finally:
            limit.cancel()

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.communicate()
            self._worker = None


def _start() -> subprocess.Popen[bytes]:
    """A fresh interpreter of Python, which does not run its caller's script again as multiprocessing would."""
    place = str(Path(tinygen.__file__).resolve().parent.parent)
    paths = [place, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", WORKER]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment)
