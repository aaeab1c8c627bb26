"""Reads what a generated project says of itself: its board, its model, and how it is built."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygen import driver, target
from tinygen.driver import Compiled
from tinygen.errors import ModelError, OutputError
from tinygen.project import MANIFEST
from tinygen.quant import Numerics
from tinygen.target import Target
from tinygen.variants import Optimize


@dataclass(frozen=True)
class Project:
    """A generated project; `environments` says how its program can run, with PlatformIO's name for each."""

    folder: Path
    name: str
    form: str
    board: Target | None
    environments: dict[str, str]
    numerics: Numerics
    optimize: Optimize
    feed_times: int
    model: Path | None
    model_sha256: str


def read_project(folder: Path) -> Project:
    """The project in `folder`; raises OutputError."""
    if not folder.is_dir():
        raise OutputError("no such folder", where=str(folder))
    path = folder / MANIFEST
    if not path.is_file():
        remedy = "make one: tinygen compile MODEL --board BOARD --output DIR"
        raise OutputError(f"not a project of tinygen: it has no {MANIFEST}", where=str(folder), remedy=remedy)
    try:
        return _project(folder, json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = f"{type(error).__name__}: {error}"
        raise OutputError("cannot be read", where=str(path), found=found, remedy="generate the project anew") from None


def _project(folder: Path, facts: dict[str, Any]) -> Project:
    return Project(
        folder,
        str(facts["name"]),
        str(facts["format"]),
        target.load(facts["board"]) if facts["board"] else None,
        dict(facts["environments"]),
        Numerics(facts["numerics"]),
        Optimize(facts["optimize"]),
        int(facts["feed_times"]),
        folder / facts["model"] if facts["model"] else None,
        str(facts["model_sha256"]),
    )


def compile_again(project: Project) -> Compiled:
    """The model that the project was made from, compiled as it was then; raises ModelError when it is another."""
    if project.model is None:
        raise ModelError(
            "the project keeps no model to compare with",
            where=str(project.folder / MANIFEST),
            found=f"a project of format {project.form}",
            remedy="make one for a board with --format platformio or cmake",
        )
    model = driver.load(project.model)
    digest = hashlib.sha256(model.data).hexdigest()
    if digest != project.model_sha256:
        raise ModelError(
            "not the model that the project was made from",
            where=str(project.model),
            found=f"SHA-256 {digest[:12]}...",
            expected=f"{project.model_sha256[:12]}...",
            remedy="generate the project anew",
        )
    return driver.compile_model(
        model, project.board, project.name, project.numerics, optimize=project.optimize, feed=project.feed_times
    )
