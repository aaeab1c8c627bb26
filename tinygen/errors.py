"""What tinygen says when a request cannot be carried out.

TinygenError            anything a user can put right; the command line prints it and exits with code 2
  ModelError            the model file: its bytes, an operator, a tensor
    ModelErrors         several of them, listed together
  TargetError           a board or core
  DataError             the samples given to check a model with
  QuantizeError         a Keras model, or what is to be done to it
  OutputError           the folder to write to
  ToolError             a program tinygen needs: a compiler, the reference interpreter
    FirmwareError       a firmware that runs: it faults, hangs, or answers wrongly; exit code 1
"""

from __future__ import annotations

from collections.abc import Sequence


class TinygenError(Exception):
    """One problem in one line: where it is, what is wrong, what was found and expected, what to do."""

    def __init__(self, what: str, *, where: str = "", found: str = "", expected: str = "", remedy: str = "") -> None:
        self.what, self.where, self.found, self.expected, self.remedy = what, where, found, expected, remedy
        facts = [f"found {found}" if found else "", f"expected {expected}" if expected else ""]
        line = f"{where}: {what}" if where else what
        line += "".join(f", {fact}" for fact in facts if fact)
        super().__init__(f"{line}; {remedy}" if remedy else line)

    @property
    def lines(self) -> tuple[str, ...]:
        """The problems, one a line."""
        return (str(self),)


class ModelError(TinygenError):
    """The model cannot be compiled as it is."""


class ModelErrors(ModelError):  # noqa: N818 - it is several
    """All problems of a model at once."""

    def __init__(self, problems: Sequence[ModelError]) -> None:
        self.problems = tuple(problems)
        Exception.__init__(self, "\n".join(self.lines))

    @property
    def lines(self) -> tuple[str, ...]:
        """The problems, one a line."""
        return tuple(str(problem) for problem in self.problems)


class TargetError(TinygenError):
    """A board or core is unknown, or its file is wrong."""


class DataError(TinygenError):
    """The given samples do not suit the model."""


class QuantizeError(TinygenError):
    """A Keras model cannot be made smaller in the wanted way."""


class OutputError(TinygenError):
    """The output cannot be written."""


class ToolError(TinygenError):
    """A program that tinygen runs is missing or failed."""


class FirmwareError(ToolError):
    """A firmware was started, and did not do what it is for: the answer is no."""
