"""Runs a model on TensorFlow Lite's reference kernels, in a process of its own because foreign files can crash it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any

from tinygen.errors import ToolError
from tinygen.ir import Array

_WITHOUT = "`tinygen verify --no-interpreter` compares the C with the NumPy reference alone"


class Golden:
    """A worker process with one reference interpreter; a context manager."""

    def __init__(self) -> None:
        self._pool = self._start()

    @staticmethod
    def _start() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))

    def __enter__(self) -> Golden:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def run(self, model: bytes, samples: Sequence[Sequence[Array]]) -> list[dict[int, Array]]:
        """For each sample, tensor index -> value of every tensor that the interpreter holds.

        Raises ToolError when the interpreter refuses the model or crashes.
        """
        try:
            return self._pool.submit(_run, model, samples).result()
        except BrokenProcessPool:
            self._pool = self._start()
            raise ToolError(
                "the reference interpreter crashed on this model",
                remedy=_WITHOUT,
            ) from None
        except (RuntimeError, ValueError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ToolError("the reference interpreter refuses this model", found=first, remedy=_WITHOUT) from None


_cached: tuple[bytes, Any] | None = None


def _run(model: bytes, samples: Sequence[Sequence[Array]]) -> list[dict[int, Array]]:
    interpreter = _interpreter(model)
    inputs = interpreter.get_input_details()
    indices = [int(detail["index"]) for detail in interpreter.get_tensor_details()]
    results = []
    for sample in samples:
        for detail, value in zip(inputs, sample, strict=True):
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
        values = {}
        for index in indices:
            try:
                values[index] = interpreter.get_tensor(index).copy()
            except ValueError:  # a temporary of the interpreter's own, without data
                continue
        results.append(values)
    return results


def _interpreter(model: bytes) -> Any:
    """The interpreter of `model`, kept from call to call."""
    global _cached
    if _cached is None or _cached[0] != model:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType  # noqa: PLC0415 - only in the worker

        interpreter = Interpreter(
            model_content=model,
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=True,
        )
        interpreter.allocate_tensors()
        _cached = (model, interpreter)
    return _cached[1]
