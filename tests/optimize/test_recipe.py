"""Recipes: the ladders that they stand for, and their mistakes, each with its line and all at once."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tinygen.errors import RecipeError
from tinygen.optimize.candidate import Candidate, candidate, default_ladder
from tinygen.optimize.recipe import read_recipe
from tinygen.optimize.technique import TECHNIQUES

LAYERS = ("conv1", "conv2", "classifier")


def ladder(text: str, folder: Path) -> tuple[Candidate, ...]:
    """The candidates of a recipe with that text."""
    path = folder / "r.yaml"
    path.write_text(dedent(text), "utf-8")
    return read_recipe(path, LAYERS)


def complaints(text: str, folder: Path) -> list[str]:
    """What is said of a wrong recipe, its folder left out."""
    with pytest.raises(RecipeError) as caught:
        ladder(text, folder)
    return [line.replace(f"{folder}/", "") for line in caught.value.lines]


def test_techniques_in_their_order_with_a_candidate_for_each_value(tmp_path: Path) -> None:
    text = """
        techniques:
          - int4
          - channels: {share: [0.5, 0.25], learning_rate: 1e-4}
          - int8: {method: mse, equalize: true}
    """
    assert ladder(text, tmp_path) == (
        candidate("int4"),
        candidate("channels", share=0.5, learning_rate=1e-4),
        candidate("channels", share=0.25, learning_rate=1e-4),
        candidate("int8", method="mse", equalize=True),
    )


def test_layers_have_settings_of_their_own_in_every_technique(tmp_path: Path) -> None:
    text = """
        techniques: [int8, int4]
        layers:
          "conv*": {weights: 4}
          classifier: {weights: 8}
    """
    first, second = ladder(text, tmp_path)
    assert first.of_layers("weights") == {"conv*": 4, "classifier": 8} == second.of_layers("weights")
    assert first.title == "int8, conv* int4 weights, classifier int8 weights"


def test_layers_alone_keep_the_default_ladder(tmp_path: Path) -> None:
    found = ladder("layers: {conv1: {weights: 4}}", tmp_path)
    assert [(each.technique, each.settings) for each in found] == [
        (each.technique, each.settings) for each in default_ladder()
    ]
    assert all(each.of_layers("weights") == {"conv1": 4} for each in found)


def test_an_empty_recipe_is_the_default_ladder(tmp_path: Path) -> None:
    assert ladder("# nothing yet\n", tmp_path) == default_ladder()


def test_the_title_names_all_that_is_not_the_default(tmp_path: Path) -> None:
    (first,) = ladder("techniques: [distill: {teachers: 3, temperature: 1, change: series}]", tmp_path)
    assert first.title == "distilled student, 50 % of width, 60 epochs, temperature 1, 3 teachers, changed series"


def test_the_default_ladder_starts_with_int8_and_tries_nothing_twice() -> None:
    found = default_ladder()
    assert found[0] == candidate("int8") and len(set(found)) == len(found)
    assert {each.technique for each in found} == set(TECHNIQUES)
    assert len({each.title for each in found}) == len(found)


def test_the_documentation_has_all_settings() -> None:
    text = (Path(__file__).parents[2] / "docs" / "optimize.md").read_text("utf-8")
    table = [line for line in text.splitlines() if line.startswith("| `")]
    for name, technique in TECHNIQUES.items():
        (row,) = [line for line in table if f"`{name}`" in line.split("|")[1]]
        assert [setting for setting in technique.settings if f"`{setting}`" not in row] == []


def test_all_mistakes_are_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    text = """\
        techniques:
          - int3
          - int4_qat: {epochs: 0, speed: 3}
          - channels:
              share: [0.5, 2]
              weights: 5
          - int8: {method: mean}
          - [int8]
        layers:
          "dense*": {weights: 4}
          conv1: {keep: 1}
        colour: red
    """
    names = "channels, codebook, distill, int16, int16_layers, int4, int4_qat, int8, int8_qat, narrow"
    assert complaints(text, tmp_path) == [
        f"r.yaml:2: unknown technique, found int3, expected {names}; did you mean int8?",
        "r.yaml:3: no such value, found 0, expected a whole number from 1 to 10000",
        "r.yaml:3: unknown setting of int4_qat, found speed, expected epochs, learning_rate",
        "r.yaml:5: no such value, found 2, expected a number from 0.01 to 1",
        "r.yaml:6: no such value, found 5, expected 8 or 4",
        "r.yaml:7: no such value, found mean, expected minmax or percentile or mse or entropy",
        "r.yaml:8: expected a technique, or one with settings, found a list",
        "r.yaml:10: no layer has such a name, found dense*, expected one of conv1, conv2, classifier",
        "r.yaml:11: unknown setting of a layer, found keep, expected weights",
        "r.yaml:12: unknown part, found colour, expected layers, techniques",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("techniques: int8", "r.yaml:1: techniques are a list, found 'int8', expected - int8"),
        ("techniques: []", "r.yaml:1: techniques are a list, found nothing, expected - int8"),
        ("- int8", "r.yaml:1: expected a mapping, found a list"),
        ("techniques:\n  - int8: fast", "r.yaml:2: expected settings, found 'fast'"),
        (
            "techniques:\n  - {int8: {}, int4: {}}",
            "r.yaml:2: more than one technique in an item, expected a dash before each",
        ),
        ("techniques: [int8]\ntechniques: [int4]", "r.yaml:2: given twice, found techniques"),
        ("techniques:\n  - int4: {equalize: 1}", "r.yaml:2: no such value, found 1, expected true or false"),
        ("techniques:\n  - int8_qat: {epochs: 1.5}", "r.yaml:2: no such value, found 1.5, expected a whole number"),
        ("techniques:\n  - int8_qat: {epochs: {a: 1}}", "r.yaml:2: no such value, found a mapping, expected a whole"),
        ("techniques: [int8\nlayers:", "r.yaml:2: not YAML: "),
        ("? [a]\n: b", "r.yaml:1: a key is a word, found a list"),
    ],
)
def test_one_mistake(text: str, line: str, tmp_path: Path) -> None:
    (found,) = complaints(text, tmp_path)
    assert found.startswith(line)


def test_a_recipe_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.yaml: cannot read the recipe, found No such file or directory"):
        read_recipe(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(RecipeError, match="found bytes that are no UTF-8"):
        read_recipe(tmp_path / "binary.yaml")
