"""Files of samples as arrays, inputs with their classes, all that is wrong with them said at once."""

from __future__ import annotations

import hashlib
import itertools
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tinygen.errors import DataError, DataErrors
from tinygen.ir import Array

TRAINING, CALIBRATION, VALIDATION, TEST = "training", "calibration", "validation", "test"
JUDGING = (VALIDATION, TEST)
"""The sets that no other may share a sample with. Those for training and calibration may share: neither judges."""
LEAST_SAMPLES = 10
"""Fewer samples give neither ranges nor a training worth the name."""
_MAKE = "save it with numpy.savez(file, x=inputs, y=classes)"


@dataclass(frozen=True, eq=False)
class Data:
    """Samples `x`, one along the first axis, float32; the class of each as an integer in `y`; where they are from."""

    x: Array
    y: Array | None = None
    path: str = ""

    @property
    def digest(self) -> str:
        """The SHA-256 of the samples and classes."""
        whole = hashlib.sha256()
        for array in (self.x, self.y):
            if array is not None:
                whole.update(f"{array.dtype.str}{array.shape}".encode())
                whole.update(np.ascontiguousarray(array).tobytes())
        return whole.hexdigest()


@dataclass(frozen=True)
class Wanted:
    """What the model and the request ask of samples: their shape, the number of classes and of samples, if known."""

    shape: tuple[int, ...] | None = None
    classes: int | None = None
    least_judging: int = LEAST_SAMPLES
    """Samples that validation and test set need for a loss of accuracy to be seen at all."""


def load_data(path: Path) -> Data:
    """The samples `x` and classes `y`, if any, of an .npz file; raises DataError."""
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            is_npz = isinstance(file, np.lib.npyio.NpzFile)
            arrays = {name: np.asarray(file[name]) for name in file.files} if is_npz else {}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "not an .npz file of numbers"
        raise DataError("cannot read the samples", where=str(path), found=reason) from None
    if "x" not in arrays:
        found = ", ".join(arrays) or "no arrays"
        raise DataError("array x is missing", where=str(path), found=found, remedy=_MAKE)
    x = arrays["x"]
    if x.dtype.kind not in "fiub" or x.ndim < 1:
        found = f"{x.dtype}{list(x.shape)}"
        raise DataError("samples are not numbers, one sample a row", where=f"{path} [x]", found=found)
    return Data(x.astype(np.float32), arrays.get("y"), str(path))


def load_sets(paths: Mapping[str, Path], wanted: Wanted) -> dict[str, Data]:
    """The sets by their roles (TRAINING, ...), in the shape of the model's input; DataErrors lists all problems."""
    problems: list[DataError] = []
    sets: dict[str, Data] = {}
    for role, path in paths.items():
        try:
            sets[role] = _shaped(load_data(path), wanted.shape)
        except DataError as problem:
            problems.append(problem)
    problems += check_data(sets, wanted)
    if problems:
        raise DataErrors(problems)
    return {role: data if data.y is None else replace(data, y=data.y.astype(np.int64)) for role, data in sets.items()}


def check_data(sets: Mapping[str, Data], wanted: Wanted) -> list[DataError]:
    """All problems of the sets, each alone and one with another."""
    found: list[DataError] = []
    for role, data in sets.items():
        found += _values(data)
        found += _count(data, role, wanted)
        if role != CALIBRATION:
            found += _labels(data, wanted.classes)
    return found + list(_shared(sets))


def _shaped(data: Data, shape: tuple[int, ...] | None) -> Data:
    """The samples in the model's shape, where they differ from it by dimensions of 1 only."""
    if shape is None or data.x.shape[1:] == shape:
        return data
    if [size for size in data.x.shape[1:] if size != 1] == [size for size in shape if size != 1]:
        return replace(data, x=data.x.reshape(len(data.x), *shape))
    expected = f"[samples, {', '.join(map(str, shape))}]"
    where, found = f"{data.path} [x]", str(list(data.x.shape))
    raise DataError("samples have another shape than the model's input", where=where, found=found, expected=expected)


def _values(data: Data) -> Iterator[DataError]:
    bad = np.asarray(~np.isfinite(data.x).all(axis=tuple(range(1, data.x.ndim))))
    if bad.any():
        found = f"{bad.sum()} of {len(data.x)} samples, the first in row {bad.argmax()}"
        yield DataError("samples hold NaN or infinity", where=f"{data.path} [x]", found=found)


def _count(data: Data, role: str, wanted: Wanted) -> Iterator[DataError]:
    least, why = LEAST_SAMPLES, ""
    if role in JUDGING and wanted.least_judging > least:
        least, why = wanted.least_judging, "with fewer, one sample weighs more than the allowed loss of accuracy"
    if len(data.x) < least:
        where, expected = f"{data.path} [x]", f"at least {least}"
        yield DataError(f"too few {role} samples", where=where, found=str(len(data.x)), expected=expected, remedy=why)


def _labels(data: Data, classes: int | None) -> Iterator[DataError]:
    where, y = f"{data.path} [y]", data.y
    if y is None:
        yield DataError("the class of each sample is missing", where=data.path, found="no array y", remedy=_MAKE)
    elif y.shape != (len(data.x),):
        found, expected = str(y.shape), f"({len(data.x)},)"
        remedy = "of one-hot labels save y.argmax(axis=1)" if y.ndim == 2 and len(y) == len(data.x) else ""
        yield DataError("labels do not fit the samples", where=where, found=found, expected=expected, remedy=remedy)
    elif y.dtype.kind not in "iu":
        yield DataError("labels are not the numbers of classes", where=where, found=str(y.dtype), expected="integers")
    else:
        bad: Array = np.logical_or(y < 0, classes is not None and y >= classes)
        if bad.any():
            expected = f"0 to {classes - 1}" if classes is not None else "0 or more"
            found = f"{y[bad.argmax()]} in row {bad.argmax()}"
            yield DataError("labels out of range", where=where, found=found, expected=expected)


def _shared(sets: Mapping[str, Data]) -> Iterator[DataError]:
    """The sets that have samples in common, and may not."""
    rows = {role: _rows(data) for role, data in sets.items()}
    for first, second in itertools.combinations(sets, 2):
        common = rows[first].keys() & rows[second].keys()
        if not common or not {first, second} & set(JUDGING):
            continue
        one, other = min((rows[first][key], rows[second][key]) for key in common)
        a, b = sets[first].path, sets[second].path
        found = f"{len(common)}, such as row {one} of {a} and row {other} of {b}"
        remedy = "a set that was seen before judges nothing: take them out of one"
        yield DataError(f"{first} and {second} set share samples", found=found, remedy=remedy)


def _rows(data: Data) -> dict[bytes, int]:
    """The digest of each sample -> the first row that it is in."""
    values = np.ascontiguousarray(data.x + 0.0)  # -0 and 0 are the same sample
    return {hashlib.sha256(values[row].tobytes()).digest(): row for row in reversed(range(len(values)))}
