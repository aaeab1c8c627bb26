"""Files of samples: what they become, and that all that is wrong with them is said at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygen.errors import DataErrors
from tinygen.quantize.data import CALIBRATION, TEST, TRAINING, VALIDATION, Wanted, load_sets

WANTED = Wanted(shape=(4, 3), classes=5)
ROLES = (TRAINING, CALIBRATION, VALIDATION, TEST)


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    """Four files of 12 samples, no two alike."""
    x = np.random.default_rng(0).normal(size=(48, 4, 3))
    found = {role: tmp_path / f"{role}.npz" for role in ROLES}
    for number, path in enumerate(found.values()):
        np.savez(path, x=x[12 * number : 12 * (number + 1)], y=np.arange(12) % 5)
    return found


def change(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Save the arrays of the file anew after `edit` changed them."""
    with np.load(path) as file:
        arrays = {name: file[name].copy() for name in file.files}
    edit(arrays)
    np.savez(path, **arrays)


def complaints(paths: dict[str, Path], wanted: Wanted = WANTED) -> tuple[str, ...]:
    """The lines about the sets, folders left out."""
    with pytest.raises(DataErrors) as caught:
        load_sets(paths, wanted)
    folder = f"{next(iter(paths.values())).parent}/"
    return tuple(line.replace(folder, "") for line in caught.value.lines)


def test_samples_become_float32_and_classes_int64(paths: dict[str, Path]) -> None:
    sets = load_sets(paths, WANTED)
    assert tuple(sets) == ROLES
    assert all(data.x.dtype == np.float32 and data.y is not None and data.y.dtype == np.int64 for data in sets.values())


def test_dimensions_of_one_are_added(paths: dict[str, Path]) -> None:
    assert load_sets(paths, Wanted((1, 4, 3, 1)))[TEST].x.shape == (12, 1, 4, 3, 1)


def test_a_digest_changes_with_samples_classes_and_shape(paths: dict[str, Path]) -> None:
    digests = {load_sets(paths, WANTED)[TEST].digest, load_sets(paths, Wanted((4, 3, 1)))[TEST].digest}
    change(paths[TEST], lambda arrays: arrays["y"].__setitem__(0, 3))
    digests.add(load_sets(paths, WANTED)[TEST].digest)
    change(paths[TEST], lambda arrays: arrays["x"].__setitem__((0, 0, 0), 3))
    digests.add(load_sets(paths, WANTED)[TEST].digest)
    assert len(digests) == 4


def test_all_problems_are_listed_at_once(paths: dict[str, Path]) -> None:
    change(paths[TRAINING], lambda arrays: arrays["x"].__setitem__((7, 0, 0), np.nan))
    change(paths[CALIBRATION], lambda arrays: arrays.update(x=arrays["x"][:3]))
    change(paths[VALIDATION], lambda arrays: arrays["y"].__setitem__(4, 5))
    change(paths[TEST], lambda arrays: arrays.update(x=arrays["x"][:, :2]))
    assert complaints(paths) == (
        "test.npz [x]: samples have another shape than the model's input, found [12, 2, 3], expected [samples, 4, 3]",
        "training.npz [x]: samples hold NaN or infinity, found 1 of 12 samples, the first in row 7",
        "calibration.npz [x]: too few calibration samples, found 3, expected at least 10",
        "validation.npz [y]: labels out of range, found 5 in row 4, expected 0 to 4",
    )


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        (None, "test.npz: the class of each sample is missing, found no array y; "),
        (np.zeros(11, int), "test.npz [y]: labels do not fit the samples, found (11,), expected (12,)"),
        (
            np.zeros((12, 5), int),
            "test.npz [y]: labels do not fit the samples, found (12, 5), expected (12,); "
            "of one-hot labels save y.argmax(axis=1)",
        ),
        (np.zeros(12), "test.npz [y]: labels are not the numbers of classes, found float64, expected integers"),
        (np.full(12, -1), "test.npz [y]: labels out of range, found -1 in row 0, expected 0 to 4"),
    ],
)
def test_classes_of_the_wrong_kind(labels: Any, line: str, paths: dict[str, Path]) -> None:
    change(paths[TEST], lambda arrays: arrays.pop("y") if labels is None else arrays.update(y=labels))
    (found,) = complaints(paths)
    assert found.startswith(line)


def test_calibration_needs_no_classes(paths: dict[str, Path]) -> None:
    change(paths[CALIBRATION], lambda arrays: arrays.pop("y"))
    assert load_sets(paths, WANTED)[CALIBRATION].y is None


def test_a_judging_set_must_be_able_to_show_the_loss(paths: dict[str, Path]) -> None:
    found = complaints(paths, Wanted((4, 3), 5, least_judging=100))
    why = "with fewer, one sample weighs more than the allowed loss of accuracy"
    assert found == tuple(
        f"{role}.npz [x]: too few {role} samples, found 12, expected at least 100; {why}" for role in (VALIDATION, TEST)
    )


@pytest.mark.parametrize(("first", "second"), [(TRAINING, VALIDATION), (CALIBRATION, TEST), (VALIDATION, TEST)])
def test_sets_that_share_samples(first: str, second: str, paths: dict[str, Path]) -> None:
    with np.load(paths[first]) as file:
        shared = file["x"][3:5]
    change(paths[second], lambda arrays: arrays["x"].__setitem__(slice(8, 10), shared))
    assert complaints(paths) == (
        f"{first} and {second} set share samples, found 2, such as row 3 of {first}.npz and row 8 of {second}.npz; "
        "a set that was seen before judges nothing: take them out of one",
    )


def test_training_samples_may_calibrate(paths: dict[str, Path]) -> None:
    sets = load_sets(paths | {CALIBRATION: paths[TRAINING]}, WANTED)
    assert sets[CALIBRATION].digest == sets[TRAINING].digest


def test_files_that_cannot_be_read(paths: dict[str, Path], tmp_path: Path) -> None:
    paths[TRAINING].unlink()
    paths[CALIBRATION].write_text("hello")
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "one.npy").rename(paths[VALIDATION])
    change(paths[TEST], lambda arrays: arrays.update(images=arrays.pop("x")))
    make = "save it with numpy.savez(file, x=inputs, y=classes)"
    assert complaints(paths) == (
        "training.npz: cannot read the samples, found No such file or directory",
        "calibration.npz: cannot read the samples, found not an .npz file of numbers",
        f"validation.npz: array x is missing, found no arrays; {make}",
        f"test.npz: array x is missing, found y, images; {make}",
    )


def test_samples_that_are_no_numbers(paths: dict[str, Path]) -> None:
    change(paths[TEST], lambda arrays: arrays.update(x=np.array(["a"] * 12)))
    assert complaints(paths) == ("test.npz [x]: samples are not numbers, one sample a row, found <U1[12]",)


def test_an_empty_set(paths: dict[str, Path]) -> None:
    change(paths[TEST], lambda arrays: arrays.update(x=arrays["x"][:0], y=arrays["y"][:0]))
    assert complaints(paths) == ("test.npz [x]: too few test samples, found 0, expected at least 10",)
