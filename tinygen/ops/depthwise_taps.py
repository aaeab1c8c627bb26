"""Turns a row of taps under neighbouring outputs into the order in which a kernel loads and multiplies words of two.

A window that begins at an even element of a row takes its taps in the pairs (0, 1), (2, 3), ...; one that begins at an
odd element, in the word of which it has the upper half, takes them as (none, 0), (1, 2), ...: two phases of the taps.
Words are loaded as many at a time as there are registers, as neighbouring loads take a cycle less each.
"""

from __future__ import annotations

from dataclasses import dataclass

ROW, TAPS = "row", "taps"


@dataclass(frozen=True)
class Word:
    """The `index`-th two elements of the ROW, or the `index`-th two TAPS of a phase."""

    source: str
    index: int = 0
    phase: int = 0


STEP = Word("step")
"""What the pointer to the row moves on by, when all is done."""


@dataclass(frozen=True)
class Load:
    """A word into a register."""

    word: Word
    register: int


@dataclass(frozen=True)
class Product:
    """Two products added to the sum of an output."""

    output: int
    x: int
    tap: int
    """Registers."""
    first: bool
    """Of its output."""


@dataclass(frozen=True)
class Schedule:
    """All of one row of taps."""

    batches: tuple[tuple[tuple[Load, ...], tuple[Product, ...]], ...]
    """Loads, and then the products that these allow."""
    step: int
    """The register of STEP."""
    registers: int
    """Those that are used."""

    @property
    def cycles(self) -> int:
        """A cycle each, and one more for each run of loads; the step."""
        return sum(len(loads) + len(products) + bool(loads) for loads, products in self.batches) + 1

    @property
    def starter(self) -> int:
        """The output whose sum starts last: its register may hold where all of them start."""
        firsts = [product.output for _, products in self.batches for product in products if product.first]
        return firsts[-1]


def pairs(kernel: int, phase: int) -> int:
    """Words of taps of a phase."""
    return (kernel + phase + 1) // 2


def phases(stride: int, outputs: int) -> range:
    """Those that occur."""
    return range(2 if stride % 2 and outputs > 1 else 1)


def words(kernel: int, stride: int, outputs: int) -> int:
    """Of the row under all outputs."""
    starts = (divmod(output * stride, 2) for output in range(outputs))
    return max(word + pairs(kernel, phase) for word, phase in starts)


def schedule(kernel: int, stride: int, outputs: int, registers: int) -> Schedule | None:
    """The order for so many registers beside the sums; None if they are too few."""
    wanted = _products(kernel, stride, outputs)
    needs: list[tuple[Word, ...]] = [(x, tap) for _, x, tap, _ in wanted] + [(STEP,)]
    held: dict[Word, int] = {}
    done, batches = 0, []
    while done < len(needs):
        loads = _loads(needs[done:], held, registers)
        held |= {load.word: load.register for load in loads}
        products: list[Product] = []
        begin = done
        while done < len(needs) and all(word in held for word in needs[done]):
            if done < len(wanted):
                output, x, tap, first = wanted[done]
                products.append(Product(output, held[x], held[tap], first))
            done += 1
        if done == begin:
            return None
        batches.append((tuple(loads), tuple(products)))
        later = {word for need in needs[done:] for word in need}
        step = held.get(STEP, 0)
        held = {word: register for word, register in held.items() if word in later}
    used = 1 + max(load.register for loads, _ in batches for load in loads)
    return Schedule(tuple(batches), step, used)


def _products(kernel: int, stride: int, outputs: int) -> list[tuple[int, Word, Word, bool]]:
    """Output, word of the row, word of taps, whether it is the output's first: so that words are needed in order."""
    starts = [divmod(output * stride, 2) for output in range(outputs)]
    found = [
        (pair, phase, output, word)
        for output, (word, phase) in enumerate(starts)
        for pair in range(pairs(kernel, phase))
    ]
    return [
        (output, Word(ROW, word + pair), Word(TAPS, pair, phase), pair == 0)
        for pair, phase, output, word in sorted(found)
    ]


def _loads(needs: list[tuple[Word, ...]], held: dict[Word, int], registers: int) -> list[Load]:
    """The next words that are not held, as many as there are free registers."""
    free = [register for register in range(registers) if register not in held.values()]
    missing = dict.fromkeys(word for need in needs for word in need if word not in held)
    return [Load(word, register) for word, register in zip(missing, free, strict=False)]
