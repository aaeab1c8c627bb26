"""Candidates evaluated by the workers of a Dask cluster, and by several processes: the same result as by one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import LocalCluster

from tests.optimize.fakes import float_dense
from tinygen.commands.optimize import optimize_command
from tinygen.quantize.data import Data
from tinygen.quantize.evaluate import outputs_tflite

INPUTS, CLASSES = 6, 3
COUNTS = {"calib": 20, "val": 120, "test": 120}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float .tflite, samples that it classifies as their labels say, and a recipe of three candidates."""
    folder = tmp_path_factory.mktemp("cluster")
    model = float_dense(0, INPUTS, CLASSES)
    (folder / "net.tflite").write_bytes(model)
    rng = np.random.default_rng(0)
    for name, count in COUNTS.items():
        x = rng.normal(size=(count, INPUTS)).astype(np.float32)
        y = outputs_tflite(model, Data(x, np.zeros(count, int))).argmax(axis=1)
        np.savez(folder / f"{name}.npz", x=x, y=y)
    (folder / "r.yaml").write_text("techniques: [int8: {method: [minmax, mse]}, int4]")
    return folder


def optimized(folder: Path, name: str, *others: str) -> Any:
    """The candidates in the report, without the time that they took."""
    options = [part for role in COUNTS for part in (f"--{role}", str(folder / f"{role}.npz"))]
    recipe = ["--recipe", str(folder / "r.yaml"), "--all", "--max-drop", "20%", "--board", "uno", "--json"]
    arguments = [str(folder / "net.tflite"), *options, *recipe, "--output", str(folder / name), *others]
    optimize_command.main(arguments, standalone_mode=False)
    report = json.loads((folder / name / "report.json").read_text("utf-8"))
    return [{key: value for key, value in each.items() if key != "seconds"} for each in report["candidates"]]


@pytest.fixture(scope="module")
def alone(folder: Path) -> Any:
    return optimized(folder, "alone")


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    """Two workers, each a process."""
    start: Any = LocalCluster
    with start(n_workers=2, threads_per_worker=1, dashboard_address=None) as running:
        yield running


def test_a_cluster_finds_the_same(folder: Path, alone: Any, cluster: LocalCluster) -> None:
    assert optimized(folder, "cluster", "--scheduler", cluster.scheduler_address) == alone
    assert [each["title"] for each in alone] == ["int8", "int8, mse", "int4 weights"]
    assert all(each["score"] and each["cost"]["milliseconds"] for each in alone)


def test_several_processes_find_the_same(folder: Path, alone: Any) -> None:
    assert optimized(folder, "three", "--jobs", "3") == alone
