"""The files of a result in a folder: all of them or none, and never over a file that is somebody else's."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.errors import OutputError
from tinygen.frontend import tflite
from tinygen.ir import DTYPES
from tinygen.optimize.plot import plot
from tinygen.optimize.report import html
from tinygen.optimize.rows import MODEL, SAMPLES, Result, as_json
from tinygen.quantize.data import TEST, Data

REPORT, PAGE, PLOT = "report.json", "report.html", "pareto.svg"
NAMES = (MODEL, SAMPLES, PAGE, PLOT, REPORT)


def files(result: Result) -> dict[str, bytes]:
    """What is written of a result: name -> content; model and samples only when something fits."""
    svg = plot(result)
    found = {PAGE: html(result, svg).encode(), PLOT: svg.encode()}
    winner = result.search.winner
    if winner:
        found |= {MODEL: winner.model, SAMPLES: quantised(winner.model, result.problem.sets[TEST])}
    listed = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(found.items())}
    return {**found, REPORT: (json.dumps({**as_json(result), "files": listed}, indent=2) + "\n").encode()}


def quantised(model: bytes, data: Data) -> bytes:
    """The samples as the .npz file that `tinygen run` takes for the model: in the type of its input."""
    graph = tflite.read(model, MODEL)
    tensor = graph.tensors[graph.inputs[0]]
    x = data.x
    if tensor.dtype != "float32":
        limits = np.iinfo(DTYPES[tensor.dtype])
        steps = np.round(data.x / np.float32(tensor.scale)) + tensor.zero_point
        x = np.clip(steps, limits.min, limits.max).astype(tensor.dtype)
    stream = io.BytesIO()
    arrays: dict[str, Any] = {"x": x} if data.y is None else {"x": x, "y": data.y}
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def check_folder(folder: Path) -> None:
    """Raise OutputError when the folder has files of our names that are not as we wrote them."""
    if folder.exists() and not folder.is_dir():
        raise OutputError("output is not a folder", where=str(folder), remedy="choose another with --output")
    present = [name for name in NAMES if (folder / name).exists()]
    ours = _listed(folder / REPORT)
    foreign = [name for name in present if name != REPORT and ours.get(name) != _digest(folder / name)]
    if REPORT in present and not ours:
        foreign.append(REPORT)
    if foreign:
        what = "output folder holds files that tinygen did not write, or that were changed since"
        remedy = "choose another folder with --output, or move them away"
        raise OutputError(what, where=str(folder), found=", ".join(foreign), remedy=remedy)


def _listed(report: Path) -> dict[str, Any]:
    """The files that an earlier report lists, none when it is no report of ours."""
    try:
        return dict(json.loads(report.read_text("utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def publish(contents: Mapping[str, bytes], folder: Path) -> None:
    """Write the files in place of an earlier result's; raises OutputError with nothing changed."""
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
        try:
            _replace(contents, folder, staging)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        found = error.strerror or str(error)
        raise OutputError("cannot write the output", where=str(folder), found=found) from None


def _replace(contents: Mapping[str, bytes], folder: Path, staging: Path) -> None:
    """Put the new files, all written by then, in the place of the old ones; the old ones back when that fails."""
    (staging / "old").mkdir()
    for name, content in contents.items():
        (staging / name).write_bytes(content)
    old = [name for name in NAMES if (folder / name).exists()]
    new: list[str] = []
    try:
        for name in old:
            os.replace(folder / name, staging / "old" / name)
        for name in contents:
            os.replace(staging / name, folder / name)
            new.append(name)
    except OSError:
        for name in new:
            (folder / name).unlink(missing_ok=True)
        for name in old:
            if (staging / "old" / name).exists():
                os.replace(staging / "old" / name, folder / name)
        raise
