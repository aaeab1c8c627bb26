"""The process of verify/golden.py: pickled requests on standard input, pickled answers on standard output."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Sequence
from typing import Any

from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tinygen.ir import Array


def main() -> None:
    """Answer (model, samples) with (values of each sample, "") or (None, what the interpreter has against it)."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print must not mix with the answers
    model, interpreter = b"", None
    while True:
        try:
            wanted, samples = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            if interpreter is None or wanted != model:
                model, interpreter = wanted, _interpreter(wanted)
            answer: Any = (_run(interpreter, samples), "")
        except (RuntimeError, ValueError) as error:
            interpreter = None
            answer = (None, (str(error).splitlines() or [type(error).__name__])[0])
        pickle.dump(answer, answers)
        answers.flush()


def _interpreter(model: bytes) -> Any:
    interpreter = Interpreter(
        model_content=model,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    return interpreter


def _run(interpreter: Any, samples: Sequence[Sequence[Array]]) -> list[dict[int, Array]]:
    """Tensor index -> value, for each sample."""
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


if __name__ == "__main__":
    main()
