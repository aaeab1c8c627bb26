"""What people get to see of a search: table, page, plot, files."""

from __future__ import annotations

import io
import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from tests.optimize.fakes import BASELINE, FLASH_BYTES, outcome, problem
from tinygen import driver
from tinygen.errors import OutputError
from tinygen.optimize import output
from tinygen.optimize.candidate import candidate
from tinygen.optimize.limits import Limits
from tinygen.optimize.outcome import Outcome
from tinygen.optimize.plot import plot
from tinygen.optimize.report import html
from tinygen.optimize.rows import Result, as_json, asked, front, nearest_line, next_commands, rows
from tinygen.optimize.search import Search
from tinygen.optimize.table import table
from tinygen.quantize.evaluate import Score
from tinygen.target import load
from tinygen.verify.samples import read_samples

OUTCOMES = (
    outcome(candidate("int8"), 95, 2 * FLASH_BYTES),
    Outcome(candidate("int8_qat"), note="left out: saves no flash"),
    outcome(candidate("int4"), 80, FLASH_BYTES),
    outcome(candidate("channels", share=0.25), 94, FLASH_BYTES - 1024),
)


def result(folder: Path, fitting: bool = True) -> Result:
    """A result whose last candidate fits, or none."""
    outcomes = OUTCOMES if fitting else OUTCOMES[:-1]
    found = Search(BASELINE, outcomes, outcomes[-1] if fitting else None)
    scores = (Score(90, 100), Score(89, 100)) if fitting else None
    limits = Limits(load("bluepill_f103c8"), flash_bytes=FLASH_BYTES, max_drop=0.02)
    return Result(problem(limits), found, scores, folder)


def shown(what: Result, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(table(what))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_rows_have_figures_and_verdicts(tmp_path: Path) -> None:
    found = rows(result(tmp_path))
    assert [row.state for row in found] == ["lacks", "unknown", "lacks", "chosen"]
    assert [row.verdict for row in found] == [
        "flash 100 % over",
        "left out: saves no flash",
        "15.0 points lost",
        "chosen",
    ]
    last = found[-1]
    assert (last.accuracy, last.flash, last.ram, last.milliseconds, last.size) == (
        "94.0 ± 2.4",
        "63.0",
        "4.0",
        "12.5",
        "0.81",
    )


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_keeps_every_figure_whole(width: int, tmp_path: Path) -> None:
    text = shown(result(Path("out")), width)
    assert max(map(len, text.splitlines())) <= width
    for row in rows(result(Path("out"))):
        assert all(figure in text for figure in (row.accuracy, row.flash, row.ram, row.milliseconds, row.size))
    assert "test set  float 90.0 ± 3.0 %, chosen 89.0 ± 3.1 % (100 samples, judged once)" in " ".join(text.split("\n"))


def test_nothing_fits(tmp_path: Path) -> None:
    what = result(tmp_path, fitting=False)
    assert nearest_line(what) == "int4 weights: accuracy 80.0 ± 4.0 %; 15.0 points lost"
    text = shown(what, 120)
    assert "NOTHING FITS" in text and nearest_line(what) in text
    assert as_json(what)["winner"] is None and as_json(what)["nearest"] == nearest_line(what)
    assert "<strong>Nothing fits.</strong>" in html(what, plot(what))
    assert sorted(output.files(what)) == ["pareto.svg", "report.html", "report.json"]


def test_numbers_of_points_do_not_lie_on_each_other(tmp_path: Path) -> None:
    near = (outcome(candidate("int8"), 95, 30_000), outcome(candidate("int4"), 95, 31_000))
    apart = (near[0], outcome(candidate("int4"), 95, 60_000))
    anchors = []
    for outcomes in (near, apart):
        svg = plot(Result(problem(), Search(BASELINE, outcomes, None), None, tmp_path))
        numbers = re.findall(r'<text style="([^"]*)"[^>]*>([12])</text>', svg)
        anchors.append({number: "end" in style for style, number in numbers[:2]})
    assert anchors == [{"1": True, "2": False}, {"1": False, "2": False}]


@pytest.mark.parametrize(("share", "words"), [(0.01, "1 point"), (0.025, "2.5 points"), (0.0, "0 points")])
def test_what_was_asked(share: float, words: str) -> None:
    what = result(Path())
    limits = replace(what.problem.limits, max_drop=share, milliseconds=5.0)
    board = "Blue Pill, STM32F103C8, flash 65,536 B, 5 ms"
    assert asked(replace(what, problem=replace(what.problem, limits=limits))) == (
        f"{board}, at most {words} of accuracy lost"
    )


def test_the_pareto_front() -> None:
    assert list(front(OUTCOMES)) == [0, 3]


def test_commands_name_the_kernels_that_fitted(tmp_path: Path) -> None:
    what = result(Path("out dir"))
    assert next_commands(what) == [
        "tinygen compile 'out dir/model.tflite' --board bluepill_f103c8",
        "tinygen run model_platformio --emulator --inputs 'out dir/test.npz'",
    ]


class Loads(HTMLParser):
    """What a page would load from elsewhere, and that its elements close."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href") and tag != "use"]
        if tag not in ("meta", "br", "path", "use", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing(tmp_path: Path) -> None:
    what = result(tmp_path)
    page = html(what, plot(what))
    parser = Loads()
    parser.feed(page)
    assert parser.sources == [] and parser.open == [] and "url(http" not in page and "@import" not in page
    for row in rows(what):
        assert row.title in page and row.accuracy in page
    assert page == html(what, plot(what))


def test_the_page_escapes_what_it_is_given(tmp_path: Path) -> None:
    what = result(Path("<b>"))
    assert "<b>" not in html(what, plot(what)) and "&lt;b&gt;" in html(what, plot(what))


def test_the_plot_is_the_same_each_time_and_has_every_point(tmp_path: Path) -> None:
    what = result(tmp_path)
    svg = plot(what)
    assert svg == plot(what)
    text = [each.text for each in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"flash, kB", "RAM, kB", "time of an inference, ms", "1", "3", "4"} <= set(text)


def test_files_are_written_and_replaced(tmp_path: Path) -> None:
    what, folder = result(tmp_path / "out"), tmp_path / "out"
    output.publish(output.files(what), folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(output.NAMES)
    report = json.loads((folder / "report.json").read_text("utf-8"))
    assert report["test"]["chosen"]["accuracy"] == 0.89 and report["candidates"][3]["pareto"] is True
    output.publish(output.files(result(folder, fitting=False)), folder)
    assert sorted(path.name for path in folder.iterdir()) == ["pareto.svg", "report.html", "report.json"]


def test_the_samples_are_those_that_run_takes(tmp_path: Path) -> None:
    what = result(tmp_path)
    (tmp_path / "test.npz").write_bytes(output.files(what)["test.npz"])
    (tmp_path / "model.tflite").write_bytes(OUTCOMES[-1].model)
    graph = driver.load(tmp_path / "model.tflite").graph
    samples, labels = read_samples(graph, tmp_path / "test.npz")
    test = what.problem.sets["test"]
    tensor = graph.tensors[graph.inputs[0]]
    expected = np.clip(np.round(test.x / np.float32(tensor.scale)) + tensor.zero_point, -128, 127)
    np.testing.assert_array_equal(np.concatenate([sample[0] for sample in samples]), expected)
    np.testing.assert_array_equal(labels, test.y)


@pytest.mark.parametrize("name", ["model.tflite", "report.json"])
def test_files_of_others_stay(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match=f"did not write, or that were changed since, found {re.escape(name)}; "):
        output.publish(output.files(result(tmp_path)), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "mine"


def test_a_write_that_fails_leaves_the_old_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    what = result(tmp_path)
    output.publish(output.files(what), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    replace = os.replace

    def failing(source: Any, to: Any) -> None:
        if Path(to).name == "report.json" and Path(to).parent == tmp_path and Path(source).parent.name != "old":
            raise OSError(28, "No space left on device")
        replace(source, to)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OutputError, match="cannot write the output, found No space left on device"):
        output.publish(output.files(result(tmp_path, fitting=False)), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
