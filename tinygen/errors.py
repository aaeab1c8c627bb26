"""What tinygen says when a request cannot be carried out.

TinygenError            anything a user can put right; the command line prints it and exits with code 2
  ModelError            the model file: its bytes, an operator, a tensor
    ModelErrors         several of them, listed together
  TargetError           a board or core
  DataError             the samples that a model is checked, calibrated, trained or judged with
    DataErrors          several of them, listed together
  RecipeError           what `tinygen optimize` is told to try, and what has to fit
    RecipeErrors        several of them, listed together
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


class Several(TinygenError):  # noqa: N818 - it is several
    """Several problems at once."""

    def __init__(self, problems: Sequence[TinygenError]) -> None:
        self.problems = tuple(problems)
        Exception.__init__(self, "\n".join(self.lines))

    def __reduce__(self) -> tuple[type[Several], tuple[tuple[TinygenError, ...]]]:
        """How it travels between processes: made anew of its problems."""
        return type(self), (self.problems,)

    @property
    def lines(self) -> tuple[str, ...]:
        """The problems, one a line."""
        return tuple(line for problem in self.problems for line in problem.lines)


class ModelErrors(Several, ModelError):  # noqa: N818 - it is several
    """All problems of a model at once."""


class TargetError(TinygenError):
    """A board or core is unknown, or its file is wrong."""


class DataError(TinygenError):
    """The given samples do not suit the model."""


class DataErrors(Several, DataError):  # noqa: N818 - it is several
    """All problems of the given samples at once."""


class RecipeError(TinygenError):
    """What is asked of `tinygen optimize` makes no sense: a recipe, a limit."""


class RecipeErrors(Several, RecipeError):  # noqa: N818 - it is several
    """All problems of a recipe at once."""


class QuantizeError(TinygenError):
    """A Keras model cannot be made smaller in the wanted way."""


class OutputError(TinygenError):
    """The output cannot be written."""


class ToolError(TinygenError):
    """A program that tinygen runs is missing or failed."""


class FirmwareError(ToolError):
    """A firmware was started, and did not do what it is for: the answer is no."""
