"""The wheel: installed away from the checkout, it compiles a model with the templates and boards inside it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.small_models import two_convolutions

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_wheel_holds_the_data_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "tinygen/data/templates/kernels/conv_2d.c.j2" in names
    assert "tinygen/data/firmware/include/tg_runtime.h" in names
    assert "tinygen/data/boards/cores/cortex-m4f.toml" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert all(name.startswith("tinygen") for name in names)


def test_wheel_works_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Unpacked as an installer would, run from another folder: the same files as the checkout's own command writes."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "net.tflite").write_bytes(two_convolutions())
    outputs = []
    for place in (tmp_path / "site", ROOT):
        command = [
            sys.executable,
            "-c",
            "from tinygen.cli import main; main()",
            "compile",
            "net.tflite",
            "--board",
            "uno",
            "--output",
            "out",
        ]
        environment = {**os.environ, "PYTHONPATH": str(place), "TINYGEN_DEBUG": "1"}
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, env=environment)
        files = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
        outputs.append([path.read_bytes() for path in files])
    assert outputs[0] == outputs[1]
    found = subprocess.run(
        [sys.executable, "-c", "import tinygen.resources; print(tinygen.resources.BOARDS)"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert found.startswith(str(tmp_path / "site"))
