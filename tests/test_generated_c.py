"""The generated C as a product: no warnings, no foreign symbols, sanitizer-clean, the same bytes every time."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.modelbuilder import pack, unpack
from tests.oracles import model_of
from tests.random_models import emitters, random_model
from tests.small_models import two_convolutions
from tinygen import passes, reference, target
from tinygen.driver import Compiled, Model, compile_model
from tinygen.emit import emit
from tinygen.frontend import tflite
from tinygen.lower import lower
from tinygen.memory.plan import Plan, as_plan, plan
from tinygen.quant import Numerics
from tinygen.target import Core
from tinygen.variants import Optimize, choose, kernels, without
from tinygen.verify.samples import random_samples

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
RANKS = (4, 4, 4, 1, 2, 3)
GUARD_BYTES = 64
MAIN = """\
#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include "src/{name}.c"
static void fill(FILE *file, void *to, size_t count)
{{
    if (fread(to, 1, count, file) != count) {{
        __builtin_trap();
    }}
}}
int main(int count, char **names)
{{
    FILE *file = fopen(names[count - 1], "rb");
{poison}
    for (int sample = 0; sample < {samples}; ++sample) {{
{reads}
        {name}_invoke();
{writes}
    }}
    return 0;
}}
"""


def operator_model(name: str, seed: int = 7, count: int = 8) -> bytes:
    """A model of `count` instances of one operator."""
    return model_of(emitters()[name], seed, RANKS, count, 7)


def compiled(data: bytes, name: str = "net", board: str | None = None) -> Compiled:
    """The model compiled in memory."""
    model = Model("net.tflite", data, tflite.read(data, "net.tflite"))
    return compile_model(model, target.load(board) if board else None, name)


def unpack_files(files: dict[str, str], folder: Path) -> Path:
    """The files on disk."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")
    return folder


def run(command: Sequence[object], cwd: Path) -> bytes:
    """Standard output of a command that must succeed."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr.decode(errors='replace')[:3000]}"
    return done.stdout


def distinct_cores() -> dict[str, Core]:
    """Every core, once for each set of options that a board compiles with."""
    boards = [target.load(name).core for name in target.names()]
    others = [target.load_core(name) for name in target.core_names() if name not in {core.name for core in boards}]
    return {" ".join([core.name, *(f for f in core.cflags if "mmcu" in f)]): core for core in (*boards, *others)}


CORES = distinct_cores()


def compilers(core: Core, folder: Path) -> list[list[str]]:
    """How to compile for a core: with both host compilers if any will do or (Xtensa) its own is not to be had."""
    if core.name == "portable":
        return [["gcc"], ["clang"]]
    if "xtensa" in core.features and not shutil.which(core.compiler):
        narrow = ["gcc", "-m32", "-c", "-xc", "-", "-o", "/dev/null"]
        works = subprocess.run(narrow, cwd=folder, input=b"#include <string.h>\n", capture_output=True, check=False)
        return [["gcc"] if works.returncode else ["gcc", "-m32"]]
    return [[core.compiler, *core.cflags]]


@pytest.mark.parametrize("core", CORES.values(), ids=CORES)
def test_no_warnings_from_any_compiler(core: Core, tmp_path: Path) -> None:
    """All operators for one core; the compiler names the operator by the file."""
    board = replace(target.load("uno"), core=core)
    sources: list[str] = []
    for name in sorted(emitters()):
        data = operator_model(name)
        result = compile_model(Model("net.tflite", data, tflite.read(data, "net.tflite")), board, name)
        unpack_files(result.files, tmp_path)
        sources += result.manifest["sources"]
    for compiler in compilers(core, tmp_path):
        run([*compiler, *WARNINGS, "-O2", "-Iinclude", "-c", *sources], tmp_path)


@pytest.mark.parametrize("name", sorted(emitters()))
def test_sanitizers_find_nothing(name: str, tmp_path: Path) -> None:
    """ASan and UBSan, with poisoned bytes between all tensors, so that one element outside any of them is a fault."""
    check_sanitized(operator_model(name), tmp_path)


@pytest.mark.parametrize("seed", range(900, 910))
def test_sanitizers_find_nothing_in_random_models(seed: int, tmp_path: Path) -> None:
    check_sanitized(random_model(seed), tmp_path)


def test_the_guards_catch_one_byte_outside(tmp_path: Path) -> None:
    """The check above can fail: a kernel made to write one element too many is caught."""
    result, buffers = guarded(two_convolutions())
    source = result.files["src/net.c"]
    assert source.count("out_y < 6") == 2
    broken = replace(result, files={**result.files, "src/net.c": source.replace("out_y < 6", "out_y < 7")})
    done = build_and_run_sanitized(broken, buffers, tmp_path)
    assert done.returncode != 0 and b"use-after-poison" in done.stderr


def check_sanitized(data: bytes, folder: Path, core: str = "portable", optimize: Optimize = Optimize.SPEED) -> None:
    """Build with sanitizers, run on random samples, compare the outputs with the NumPy reference."""
    result, buffers = guarded(data, core, optimize)
    done = build_and_run_sanitized(result, buffers, folder)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[:3000]
    graph = result.model.graph
    expected = b""
    for sample in random_samples(graph, 3):
        values = reference.run(graph, sample, Numerics.TFLITE)
        expected += b"".join(values[i].tobytes() for i in graph.outputs)
    assert done.stdout == expected


def guarded(data: bytes, core: str = "portable", optimize: Optimize = Optimize.SPEED) -> tuple[Compiled, Plan]:
    """The model, with the kernels of a core, under a plan that keeps every buffer to itself, GUARD_BYTES apart."""
    result = compiled(data)
    graph = passes.run(result.model.graph)
    choices = choose(graph, Numerics.TFLITE, target.load_core(core), optimize)
    tight = plan(graph, kernels(choices), 8)
    placed, end = [], GUARD_BYTES
    for buffer, _ in tight.buffers:
        placed.append((buffer, end))
        end += -(-buffer.bytes // 8) * 8 + GUARD_BYTES
    wide = as_plan(placed, 8, end, tight.moved, tight.peak_step)
    program = lower(graph, without(choices, wide.moved), wide, "net")
    return replace(result, plan=wide, program=program, files=emit(program)), wide


def build_and_run_sanitized(result: Compiled, plan: Plan, folder: Path) -> subprocess.CompletedProcess[bytes]:
    """The program's outputs, sample after sample, on standard output."""
    samples = random_samples(result.model.graph, 3)
    live = [f"ASAN_UNPOISON_MEMORY_REGION(net_arena.bytes + {o}, {b.bytes});" for b, o in plan.buffers]
    poison = ["ASAN_POISON_MEMORY_REGION(net_arena.bytes, sizeof net_arena.bytes);", *live]
    reads = [f"fill(file, {p.symbol}(), {p.tensor.bytes});" for p in result.program.inputs]
    writes = [f"fwrite({p.symbol}(), 1, {p.tensor.bytes}, stdout);" for p in result.program.outputs]
    blocks = {"poison": poison, "reads": reads, "writes": writes}
    text = {key: "\n".join(f"        {line}" for line in lines) for key, lines in blocks.items()}
    unpack_files({**result.files, "main.c": MAIN.format(name="net", samples=len(samples), **text)}, folder)
    (folder / "inputs.bin").write_bytes(b"".join(x.tobytes() for sample in samples for x in sample))
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    run(["gcc", "-O1", "-g", *sanitize, "-Iinclude", "-Isrc", "-I.", "main.c", "src/net_data.c", "-o", "main"], folder)
    return subprocess.run([folder / "main", "inputs.bin"], cwd=folder, capture_output=True, check=False, timeout=60)


def test_headers_compile_as_cpp(tmp_path: Path) -> None:
    folder = unpack_files(compiled(two_convolutions()).files, tmp_path)
    (folder / "main.cpp").write_text(
        '#include "net.h"\n#include "tg_runtime.h"\n#include "src/net_data.h"\n'
        "int main() { net_invoke(); return *net_output_0(); }\n"
    )
    for compiler in ("g++", "clang++"):
        flags = ["-std=c++11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
        run([compiler, *flags, "-Iinclude", "-I.", "-c", "main.cpp", "-o", "main.o"], folder)


def test_symbols_stay_inside_the_prefix(tmp_path: Path) -> None:
    folder = unpack_files(compiled(random_model(3)).files, tmp_path)
    run(["gcc", "-std=c99", "-O2", "-Iinclude", "-c", "src/net.c", "src/net_data.c"], folder)
    symbols = run(["nm", "-g", "--defined-only", "net.o", "net_data.o"], folder).decode()
    names = re.findall(r"^[0-9a-f]+ \w (\S+)$", symbols, re.M)
    assert "net_invoke" in names
    assert all(name.startswith(("net_", "tg_")) for name in names)
    wanted = run(["nm", "-u", "net.o", "net_data.o"], folder).decode()
    foreign = {name for name in re.findall(r" U (\S+)$", wanted, re.M) if not name.startswith("net_")}
    assert foreign <= {"memcpy", "memset", "memmove"}, foreign


def test_two_models_link_into_one_image(tmp_path: Path) -> None:
    for seed, name in ((1, "first"), (2, "second")):
        unpack_files(compiled(random_model(seed), name).files, tmp_path)
    (tmp_path / "main.c").write_text(
        '#include "first.h"\n#include "second.h"\nint main(void) { first_invoke(); second_invoke(); return 0; }\n'
    )
    sources = sorted(path.relative_to(tmp_path) for path in (tmp_path / "src").glob("*.c"))
    run(["gcc", *WARNINGS, "-Iinclude", "main.c", *sources, "-o", "main"], tmp_path)
    run([tmp_path / "main"], tmp_path)


def test_same_input_same_bytes() -> None:
    """In another process with another hash seed too."""
    data = random_model(11)
    files = compiled(data).files
    assert compiled(data).files == files
    code = (
        "import sys; from tests.test_generated_c import *; "
        "sys.stdout.write(''.join(compiled(random_model(11)).files.values()))"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, check=True, env={"PYTHONHASHSEED": "77"}
    )
    assert done.stdout.decode() == "".join(files.values())


def test_long_lines_and_odd_names_stay_valid_c(tmp_path: Path) -> None:
    """Tensor names are foreign text: comment ends, trigraphs and non-ASCII must not leak into the C."""
    data = unpack(two_convolutions())
    for tensor, name in zip(
        data.subgraphs[0].tensors, ["*/ int x; /*", "é中??/", "\\", 'a"b', "%s", "\n#error"], strict=False
    ):
        tensor.name = name
    folder = unpack_files(compiled(pack(data)).files, tmp_path)
    run(["gcc", *WARNINGS, "-Iinclude", "-c", "src/net.c", "src/net_data.c"], folder)
