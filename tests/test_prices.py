"""What rows save and take, as `inspect` and `compile` say it."""

from __future__ import annotations

import itertools
from pathlib import Path

from tests.branchy_models import rows_network
from tests.test_cli import as_json
from tests.test_streaming import compiled
from tinygen import ops
from tinygen.arena import arena
from tinygen.inspection import inspect
from tinygen.memory.prices import DEARER, cycles, prices
from tinygen.ops.spec import Cost
from tinygen.variants import Optimize


def test_runs_have_a_price() -> None:
    """Each is smaller than its layers whole, and takes a share of what the cost model says of the inference."""
    result = compiled(rows_network(0), "nucleo_l4r5zi")
    found = arena(result.graph, result.plan)
    assert len(found.rows) == len(result.plan.runs) > 0
    for one, run in zip(found.rows, result.plan.runs, strict=True):
        assert one.first == result.graph.nodes[run.first].location and one.bytes < one.whole_bytes
        assert 0 < one.extra_percent < 100
        assert f"{one.bytes:,} bytes at work, {one.whole_bytes:,} if computed whole; " in str(one)
    assert list(found.lines())[-len(found.rows) :] == [str(one) for one in found.rows]


def test_no_rows_no_price() -> None:
    result = compiled(rows_network(0), "nucleo_l4r5zi", Optimize.FLASH)
    assert arena(result.graph, result.plan).rows == ()


def test_options_of_a_model(tmp_path: Path) -> None:
    """Each needs less than the one before it, for more cycles; the first has no rows."""
    path = tmp_path / "net.tflite"
    path.write_bytes(rows_network(0))
    found = inspect(path).options
    assert len(found) > 2 and found[0].layers == () and found[0].extra_percent == 0
    assert all(a.bytes > b.bytes and a.extra_percent < b.extra_percent for a, b in itertools.pairwise(found))
    assert as_json("inspect", path)["options"][-1]["bytes"] == found[-1].bytes
    run = as_json("compile", path, "--board", "nucleo_l4r5zi", "--optimize", "ram", "--output", tmp_path / "out")
    assert {"first", "last", "bytes", "whole_bytes", "extra_percent"} == set(run["memory"]["rows"][0])


def test_plain_c_costs_most_where_multiplications_do() -> None:
    """A depthwise convolution of 10,000 outputs, on cores that could compute it otherwise."""
    cost, variants = Cost(macs=90_000, outputs=10_000), ops.SPECS["depthwise_conv_2d"].variants
    plain = variants[-1]
    for feature, least in (("armv6m", 5), ("armv7m", 4), ("dsp", 8), ("mve", 15)):
        core = frozenset({feature})
        own = next(variant for variant in variants if variant.features == core)
        assert cycles(plain, cost, core, lone=True) > least * cycles(own, cost, core, lone=True)
        assert cycles(plain, cost, core, lone=True) > cycles(plain, cost, core, lone=False)
        assert cycles(own, cost, core, lone=True) == cycles(own, cost, core | {"other"}, lone=True)


def test_dearer_kernels_exist() -> None:
    """Each takes more than the first variant for the same instructions."""
    templates = {f"kernels/{name}.c.j2" for name in DEARER}
    variants = [variant for spec in ops.SPECS.values() for variant in spec.variants]
    assert templates <= {variant.template for variant in variants} and min(DEARER.values()) > 1
    cost = Cost(macs=9_000, outputs=100)
    for variant in (variant for variant in variants if variant.template in templates):
        assert cycles(variant, cost, frozenset(), lone=False) > prices(variant.features).own.of(cost)
