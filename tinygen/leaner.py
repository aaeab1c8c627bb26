"""Turns the choice of kernels into one whose functions are worth their bytes."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from tinygen import ops
from tinygen.target import Core
from tinygen.variants import Choice, Choices, choice_of, constant_bytes

CYCLES_A_BYTE = 30
"""What a byte of a function must save of an inference, at least: a kilobyte at 100 MHz a quarter of a millisecond."""


@dataclass(frozen=True)
class _Swap:
    """Leaner kernels for all layers of one function, or several."""

    choices: Mapping[int, Choice]
    """By node."""
    old_bytes: float
    """What goes: of the functions, and of what their layers' constants take more."""
    new: Mapping[str, int]
    """Functions that no other layer has yet, and what they take."""
    extra_cycles: float

    @property
    def saved_bytes(self) -> float:
        """What is left of that."""
        return self.old_bytes - sum(self.new.values())

    @property
    def cycles_a_byte(self) -> float:
        """What a byte that is left costs."""
        return self.extra_cycles / self.saved_bytes if self.saved_bytes > 0 else math.inf

    def of(self, choices: Choices) -> Choices:
        """The choices with these."""
        return tuple(self.choices.get(index, choice) for index, choice in enumerate(choices))

    def __add__(self, other: _Swap) -> _Swap:
        """Both."""
        return _Swap(
            {**self.choices, **other.choices},
            self.old_bytes + other.old_bytes,
            {**self.new, **other.new},
            self.extra_cycles + other.extra_cycles,
        )


def leaner(choices: Choices, core: Core, most_cycles: float, lacking_bytes: float = 0) -> Choices:
    """The choices, with leaner kernels for all layers of functions that save too little; the cheapest for a byte first.

    All of them together take at most so many cycles more: a small network has few to lose. Beyond that, more of them
    save `lacking_bytes`, whatever they take.
    """
    while True:
        swaps = [swap for swap in _swaps(choices, core) if swap.cycles_a_byte < CYCLES_A_BYTE]
        swaps = [swap for swap in swaps if swap.extra_cycles <= most_cycles]
        if not swaps:
            break
        best = min(swaps, key=operator.attrgetter("cycles_a_byte"))
        most_cycles -= best.extra_cycles
        choices = best.of(choices)
    while lacking_bytes > 0:
        swaps = [swap for swap in _swaps(choices, core) if swap.saved_bytes > 0]
        if not swaps:
            break
        best = min(swaps, key=operator.attrgetter("cycles_a_byte"))
        lacking_bytes -= best.saved_bytes
        choices = best.of(choices)
    return choices


def _swaps(choices: Choices, core: Core) -> Iterator[_Swap]:
    """For each function whose layers all have a leaner kernel: these, and what comes of them; then several together."""
    layers: dict[str, dict[int, Choice]] = {}
    for index, choice in enumerate(choices):
        if choice:
            layers.setdefault(_function(choice), {})[index] = choice
    found = [_swap(present, core, layers.keys() - {function}) for function, present in layers.items()]
    swaps = [swap for swap in found if swap]
    yield from swaps
    yield from _together(swaps)


def _together(swaps: Sequence[_Swap]) -> Iterator[_Swap]:
    """Those that would have the same new function: two of them, three, and so on, the cheapest first."""
    alike: dict[tuple[str, ...], list[_Swap]] = {}
    for swap in swaps:
        if swap.new and swap.old_bytes > 0:
            alike.setdefault(tuple(swap.new), []).append(swap)
    for group in alike.values():
        group.sort(key=lambda swap: swap.extra_cycles / swap.old_bytes)
        yield from list(accumulate(group, operator.add))[1:]


def _swap(present: dict[int, Choice], core: Core, others: set[str]) -> _Swap | None:
    """That of the layers of one function, beside the `others`; None where one of them has no leaner kernel."""
    found: dict[int, Choice] = {}
    new: dict[str, int] = {}
    old_bytes, cycles = 0.0, 0.0
    for index, choice in present.items():
        leaner = choice.variant.leaner
        variants = ops.SPECS[choice.context.node.op].variants
        variant = next((each for each in variants if leaner and each.name == leaner.variant), None)
        if leaner is None or variant is None or not variant.fits(choice.context, core.features):
            return None
        found[index] = choice_of(choice.context, variant)
        function = _function(found[index])
        new |= {} if function in others else {function: leaner.own_bytes}
        old_bytes += constant_bytes(choice) - constant_bytes(found[index])
        cycles += leaner.extra_cycles(choice.context)
        code_bytes = leaner.code_bytes(choice.context)
    return _Swap(found, old_bytes + code_bytes, new, cycles)


def _function(choice: Choice) -> str:
    """What tells the function of a kernel: layers that print the same text share one."""
    return f"{choice.variant.template} {sorted(choice.kernel.values.items(), key=lambda item: item[0])}"
