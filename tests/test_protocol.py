"""The serial protocol: tg_protocol.c over a board and a model made for it; and that tg_arduino.cpp compiles."""

from __future__ import annotations

import random
import re
import shutil
import struct
import subprocess
from itertools import count
from pathlib import Path
from typing import Any

import cffi
import pytest

from tests.test_generated_c import WARNINGS, run
from tinygen.resources import FIRMWARE
from tinygen.verify.host import compiler

PROTOCOL = FIRMWARE / "app" / "tg_protocol.c"
ARDUINO = FIRMWARE / "board" / "tg_arduino.cpp"
INCLUDES = [f"-I{FIRMWARE / folder}" for folder in ("include", "app", "board")]
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
LAYER_CYCLES = "-DTG_LAYER_CYCLES"

MODEL = """\
#ifndef TG_MODEL_H
#define TG_MODEL_H

#include <stdint.h>

#define TG_MODEL_NAME "fake"
#define TG_MODEL_INPUT_BYTES 13u
#define TG_MODEL_OUTPUTS 3u
#define TG_MODEL_LAYERS 2u

void tg_model_set_inputs(const uint8_t *bytes);
void tg_model_invoke(void);
const uint8_t *tg_model_output(uint32_t output);
uint32_t tg_model_output_bytes(uint32_t output);
uint32_t tg_model_output_count(uint32_t output);
float tg_model_value(uint32_t output, uint32_t i);

#endif
"""
"""Inputs: int8 * 3, float * 2, uint8 * 2. Outputs: the first two inputs (int8 with scale 0.5 and zero point -1), and
int16 * 17 with scale 0.25."""

FAKE = """\
#include <stdio.h>
#include <string.h>
#include "tg_board.h"
#include "tg_model.h"
#include "tg_protocol.h"
#include <tg_runtime.h>

static struct { int8_t a[3]; float b[2]; uint8_t c[2]; } inputs;
static struct { int8_t a[3]; float b[2]; int16_t c[17]; } outputs;
uint32_t fake_us, fake_cycles = 4294967000u, fake_us_per_byte;

void tg_model_set_inputs(const uint8_t *bytes)
{
    memcpy(inputs.a, bytes, 3);
    memcpy(inputs.b, bytes + 3, 8);
    memcpy(inputs.c, bytes + 11, 2);
}

void tg_model_invoke(void)
{
    memcpy(outputs.a, inputs.a, sizeof outputs.a);
    memcpy(outputs.b, inputs.b, sizeof outputs.b);
    fake_us += 600;
    fake_cycles += 1000;
    TG_LAYER_DONE(0);
    for (int i = 0; i < 17; ++i) {
        outputs.c[i] = (int16_t)(256 * i + inputs.c[0] - inputs.c[1]);
    }
    fake_cycles += 234;
    TG_LAYER_DONE(1);
    fake_cycles += 6;
    memset(&inputs, 0xEE, sizeof inputs);
}

const uint8_t *tg_model_output(uint32_t output)
{
    const void *const all[] = {outputs.a, outputs.b, outputs.c};
    return all[output];
}

uint32_t tg_model_output_bytes(uint32_t output)
{
    const uint32_t all[] = {sizeof outputs.a, sizeof outputs.b, sizeof outputs.c};
    return all[output];
}

uint32_t tg_model_output_count(uint32_t output)
{
    const uint32_t all[] = {3, 2, 17};
    return all[output];
}

float tg_model_value(uint32_t output, uint32_t i)
{
    return output == 0 ? 0.5f * (float)(outputs.a[i] + 1) : output == 1 ? outputs.b[i] : 0.25f * (float)outputs.c[i];
}

void tg_board_start(void) {}
uint32_t tg_board_microseconds(void) { return fake_us; }
uint32_t tg_board_cycles(void) { return fake_cycles; }

#ifdef FAKE_PROGRAM
int tg_board_read(void) { return getchar(); }
void tg_board_write(const char *bytes, uint32_t count) { fwrite(bytes, 1, count, stdout); }
int main(void)
{
    tg_protocol_start();
    tg_protocol_poll();
    return 0;
}
#else
const uint8_t *fake_in;
uint32_t fake_in_count, fake_out_count;
char fake_out[65536];
int tg_board_read(void) { return fake_in_count ? (--fake_in_count, *fake_in++) : -1; }
void tg_board_write(const char *bytes, uint32_t count)
{
    memcpy(fake_out + fake_out_count, bytes, count);
    fake_out_count += count;
    fake_us += count * fake_us_per_byte;
}
#endif
"""
INTERFACE = """
void tg_protocol_start(void);
void tg_protocol_poll(void);
extern uint32_t fake_us, fake_us_per_byte, fake_in_count, fake_out_count;
extern const uint8_t *fake_in;
extern char fake_out[];
"""

BANNER = ["m-timestamp-mode-performance", "m-lap-us-0", "m-init-done"]
HELP = [
    "m-help-[name, profile, timestamp]",
    "m-help-[db load N, then db HH..: N bytes of input]",
    "m-help-[db print: the input]",
    "m-help-[infer N W: N inferences after W to warm up]",
    "m-help-[results, outputs: in decimals, in hex]",
    "m-help-[cycles: of each layer]",
]
RAMP = ",".join(f"{64 * i - 1.25:.3f}" for i in range(17))
RESULTS = [f"m-results-[0.000,1.000,-63.500,1.500,-0.250,{RAMP}]"]
OUTPUTS = [
    "m-output-0-ff0180",
    "m-output-1-0000c03f000080be",
    "m-output-2-" + "".join(f"fb{(i - 1) % 256:02x}" for i in range(16)),
    "m-output-2-fb0f",
]


def inference(warmup: int, times: int, start_us: int, results: list[str]) -> list[str]:
    """What `infer` replies when an inference takes 600 us."""
    return [
        f"m-warmup-start-{warmup}",
        "m-warmup-done",
        f"m-infer-start-{times}",
        f"m-lap-us-{start_us}",
        f"m-lap-us-{start_us + 600 * times}",
        "m-infer-done",
        *results,
    ]


def unknown(line: str) -> list[str]:
    return [f"e-[Unknown command: {line}]"]


def wrong_number(argument: str, low: int, high: int, found: str) -> list[str]:
    return [f"e-[{argument}: expected a number from {low} to {high}, found {found}]"]


def wrong_size(found: str) -> list[str]:
    return wrong_number("db load", 1, 13, found)


def wrong_n(found: str) -> list[str]:
    return wrong_number("infer N", 1, 2**32 - 1, found)


def wrong_w(found: str) -> list[str]:
    return wrong_number("infer W", 0, 2**32 - 1, found)


TOO_LONG = ["e-[Command longer than 80 characters]"]
NO_LOAD = ["e-[db load N comes first]"]
NO_OUTPUTS = ["e-[infer comes first]"]
SESSION: list[tuple[bytes, list[str]]] = [
    # Who is here, and how a command is read.
    (b"name", ["m-name-dut-[tinygen]"]),
    (b"profile", ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", "m-model-[fake]"]),
    (b"timestamp", ["m-lap-us-0"]),
    (b"help", HELP),
    (b"\r\n\n\rname", ["m-name-dut-[tinygen]"]),
    (b"  name  ", ["m-name-dut-[tinygen]"]),
    (b"", unknown("")),
    (b"\r\n", unknown("")),
    (b"   ", unknown("   ")),
    (b"Name", unknown("Name")),
    (b"nam", unknown("nam")),
    (b"names", unknown("names")),
    (b"name now", unknown("name now")),
    (b"name  x  y  z  u", unknown("name  x  y  z  u")),
    (b"na\nme", unknown("na?me")),
    (b"name\0", unknown("name?")),
    (b"\0\x01\x1f\x7f\x80\xff~ !", unknown("??????~ !")),
    (b"x" * 80, unknown("x" * 80)),
    (b"x" * 81, TOO_LONG),
    (b"name" + b" " * 76, ["m-name-dut-[tinygen]"]),
    (b"name" + b" " * 77, TOO_LONG),
    (b"name " * 1000, TOO_LONG),
    (b"name", ["m-name-dut-[tinygen]"]),
    # Before there is anything.
    (b"db", unknown("db")),
    (b"db print", NO_LOAD),
    (b"db 00", NO_LOAD),
    (b"db 0", NO_LOAD),
    (b"results", NO_OUTPUTS),
    (b"outputs", NO_OUTPUTS),
    (b"cycles", NO_OUTPUTS),
    # How many bytes.
    (b"db load", wrong_size("nothing")),
    (b"db load 0", wrong_size("0")),
    (b"db load 14", wrong_size("14")),
    (b"db load -1", wrong_size("-1")),
    (b"db load +1", wrong_size("+1")),
    (b"db load 1x", wrong_size("1x")),
    (b"db load x1", wrong_size("x1")),
    (b"db load a", wrong_size("a")),
    (b"db load 0x1", wrong_size("0x1")),
    (b"db load 1.0", wrong_size("1.0")),
    (b"db load 4294967295", wrong_size("4294967295")),
    (b"db load 4294967297", wrong_size("4294967297")),
    (b"db load 42949672960", wrong_size("42949672960")),
    (b"db load 18446744073709551617", wrong_size("18446744073709551617")),
    (b"db load 1 2", unknown("db load 1 2")),
    (b"db load 1\t", wrong_size("1?")),
    (b"db Load 1", unknown("db Load 1")),
    (b"db 00", NO_LOAD),
    (b"db load 13", ["m-[Expecting 13 bytes]"]),
    (b"db load  0000000002", ["m-[Expecting 2 bytes]"]),
    # The bytes themselves.
    (b"db print", []),
    (b"db aF", []),
    (b"db print", ["m-buffer-af"]),
    (b"db 0", ["e-[Odd number of hex digits: 1]"]),
    (b"db 001", ["e-[Odd number of hex digits: 3]"]),
    (b"db 0g", ["e-[Not a hex digit: g]"]),
    (b"db 00/0", ["e-[Not a hex digit: /]"]),
    (b"db 00:0", ["e-[Not a hex digit: :]"]),
    (b"db 00@G`", ["e-[Not a hex digit: @]"]),
    (b"db `0", ["e-[Not a hex digit: `]"]),
    (b"db 00\xff0", ["e-[Not a hex digit: ?]"]),
    (b"db 00 00", unknown("db 00 00")),
    (b"db print 1", unknown("db print 1")),
    (b"infer", ["e-[Input incomplete: 1 of 2 bytes]"]),
    (b"db print", ["m-buffer-af"]),
    (b"db 012345", ["m-load-done"]),
    (b"db print", ["m-buffer-af-01"]),
    (b"db 6789", []),
    (b"db 678", ["e-[Odd number of hex digits: 3]"]),
    (b"db print", ["m-buffer-af-01"]),
    (b"db load 99", wrong_size("99")),
    (b"db print", ["m-buffer-af-01"]),
    (b"db load 13", ["m-[Expecting 13 bytes]"]),
    (b"db FF01800000C03F0000", []),
    (b"db 80be0207", ["m-load-done"]),
    (b"db print", ["m-buffer-ff-01-80-00-00-c0-3f-00", "m-buffer-00-80-be-02-07"]),
    # Inference.
    (b"infer 0", wrong_n("0")),
    (b"infer -1", wrong_n("-1")),
    (b"infer x", wrong_n("x")),
    (b"infer 1x", wrong_n("1x")),
    (b"infer 4294967296", wrong_n("4294967296")),
    (b"infer 1 -1", wrong_w("-1")),
    (b"infer 1 x", wrong_w("x")),
    (b"infer 1 99999999999", wrong_w("99999999999")),
    (b"infer 1 2 3", unknown("infer 1 2 3")),
    (b"results", NO_OUTPUTS),
    (b"timestamp", ["m-lap-us-0"]),
    (b"infer", inference(10, 1, 6000, RESULTS)),
    (b"infer 2", inference(10, 2, 12600, RESULTS)),
    (b"infer 3 0", inference(0, 3, 13800, RESULTS)),
    (b"results", RESULTS),
    (b"outputs", OUTPUTS),
    (b"outputs 0", unknown("outputs 0")),
    (b"cycles", ["m-layer-0-1000", "m-layer-1-234", "m-cycles-1240"]),
    (b"timestamp", ["m-lap-us-15600"]),
    # What was loaded before stays behind a shorter input; errors and new inputs leave the outputs alone.
    (b"db load 3", ["m-[Expecting 3 bytes]"]),
    (b"outputs", OUTPUTS),
    (b"db ff0180", ["m-load-done"]),
    (b"infer 1 1", inference(1, 1, 16200, RESULTS)),
]


def reply(lines: list[str]) -> bytes:
    """The lines and m-ready as they are sent."""
    return "".join(f"{line}\r\n" for line in [*lines, "m-ready"]).encode()


def write_fakes(folder: Path) -> None:
    (folder / "tg_model.h").write_text(MODEL)
    (folder / "fake.c").write_text(FAKE)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The protocol on standard input and output, with sanitizers."""
    folder = tmp_path_factory.mktemp("program")
    write_fakes(folder)
    flags = ["-std=c99", "-O1", "-g", *SANITIZE, "-DFAKE_PROGRAM", LAYER_CYCLES, "-I.", *INCLUDES]
    run(["gcc", *flags, "fake.c", PROTOCOL, "-o", "program"], folder)
    return folder / "program"


class Device:
    """The protocol as a library, freshly reset."""

    def __init__(self, library: Path) -> None:
        self._ffi = cffi.FFI()
        self._ffi.cdef(INTERFACE)
        self.c: Any = self._ffi.dlopen(str(library))
        self.c.tg_protocol_start()

    def replies(self) -> bytes:
        """What was sent since the last call."""
        sent = bytes(self._ffi.buffer(self.c.fake_out, self.c.fake_out_count))
        self.c.fake_out_count = 0
        return sent

    def send(self, data: bytes) -> bytes:
        """What the device replies to bytes that come in at once."""
        kept = self._ffi.from_buffer("uint8_t[]", data)
        self.c.fake_in, self.c.fake_in_count = kept, len(data)
        self.c.tg_protocol_poll()
        return self.replies()


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The protocol without and with cycles per layer."""
    folder = tmp_path_factory.mktemp("libraries")
    write_fakes(folder)
    flags = ["-std=c99", "-O2", "-fPIC", "-shared", "-I.", *INCLUDES]
    for name, defines in (("plain", []), ("layers", [LAYER_CYCLES])):
        run([*compiler(), *flags, *defines, "fake.c", PROTOCOL, "-o", f"{name}.so"], folder)
    return {name: folder / f"{name}.so" for name in ("plain", "layers")}


COPIES = count()


def device(library: Path) -> Device:
    """A device of its own: a library is loaded once under one name."""
    return Device(Path(shutil.copy(library, library.with_name(f"{next(COPIES)}.so"))))


def test_a_session_byte_by_byte(libraries: dict[str, Path]) -> None:
    """Nothing is said before a command's %, and all of its reply then."""
    board = device(libraries["layers"])
    assert board.replies() == reply(BANNER)
    for command, lines in SESSION:
        for byte in command:
            assert board.send(bytes([byte])) == b""
        assert board.send(b"%") == reply(lines), command


def test_a_session_at_once(program: Path) -> None:
    """The same, with sanitizers."""
    sent = b"".join(command + b"%" for command, _ in SESSION)
    assert talk(program, sent) == reply(BANNER) + b"".join(reply(lines) for _, lines in SESSION)


def talk(program: Path, sent: bytes) -> bytes:
    done = subprocess.run([program], input=sent, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[:3000]
    return done.stdout


def test_cycles_without_layers(libraries: dict[str, Path]) -> None:
    board = device(libraries["plain"])
    board.send(b"infer%")
    assert board.send(b"cycles%") == reply(["m-cycles-1240"])


def test_times_leave_out_the_sending(libraries: dict[str, Path]) -> None:
    """At 87 us for each byte that is sent, and over the wrap of the clock."""
    board = device(libraries["plain"])
    board.replies()
    board.c.fake_us_per_byte = 87
    board.c.fake_us = start = 2**32 - 5000
    sent = board.send(b"infer 100 0%").decode()
    before = 87 * len("m-warmup-start-0..m-warmup-done..m-infer-start-100..")
    laps = [int(lap) for lap in re.findall(r"m-lap-us-(\d+)\r\n", sent)]
    assert laps == [(start + before) % 2**32, (start + before + 60000) % 2**32]


def shown(value: float) -> str:
    """A number as `results` shows it."""
    if value != value:
        return "nan"
    return ("-" if value < 0 else "") + "4294967295.000" if abs(value) >= 2**32 else f"{value:.3f}"


def test_three_decimals(program: Path) -> None:
    """Ties, powers of two and their neighbours, integers, whole bit patterns: as printf rounds them."""
    rng = random.Random(1)
    ties = [n / 16 for n in range(-40, 40)] + [n + 0.0625 for n in (2**10, 2**17, 2**19)]
    patterns = [0, 1, 0x007FFFFF, 0x7F800000, 0x7F800001, 0x7FC00000, 0x4F7FFFFF, 0x4F800000, 0x4F000000]
    patterns += [(exponent << 23) + step for exponent in range(1, 255) for step in (-1, 0, 1)]
    patterns += [struct.unpack("<I", struct.pack("<f", value))[0] for value in (*ties, 0.0005, 0.9995, 0.9994999)]
    patterns += [rng.randrange(112 << 23, 160 << 23) for _ in range(4000)]
    patterns += [rng.randrange(2**31) for _ in range(300)]
    patterns = [bits ^ sign for bits in patterns for sign in (0, 2**31)]
    pairs = [struct.pack("<II", *pair) for pair in zip(patterns[::2], patterns[1::2], strict=True)]
    sent = b"".join(b"db load 11%db 000000%db " + pair.hex().encode() + b"%infer 1 0%" for pair in pairs)
    results = re.findall(r"m-results-\[([^]]*)\]", talk(program, sent).decode())
    for pair, result in zip(pairs, results, strict=True):
        assert result.split(",")[3:5] == [shown(value) for value in struct.unpack("<ff", pair)], pair.hex()


NEAR = [command for command, _ in SESSION if len(command) < 200 and not re.match(rb"infer.*\d{5}", command)]
"""Commands to make garbage of, with no inference that runs for ever when its end is cut off."""


def garbage(rng: random.Random) -> bytes:
    """One piece of what no computer should send."""
    near = rng.choice(NEAR)
    match rng.randrange(6):
        case 0:
            return rng.randbytes(rng.choice((1, 3, 20, 79, 80, 81, 82, 300)))
        case 1:
            return near[: rng.randrange(len(near) + 1)]
        case 2:
            at = rng.randrange(len(near) + 1)
            return near[:at] + rng.randbytes(rng.randrange(1, 4)) + near[at:]
        case 3:
            return b"db " + rng.randbytes(40).hex().encode()[: rng.randrange(1, 81)] + b"%"
        case 4:
            return b" ".join(rng.choice(NEAR) for _ in range(rng.randrange(1, 40)))
        case _:
            return near + b"%" * rng.randrange(3)


def test_garbage(program: Path) -> None:
    """10,000 pieces: no fault, one m-ready for each %, whole printable lines, and after each piece an answer."""
    rng = random.Random(3)
    pieces = [garbage(rng) for _ in range(10_000)]
    replied = talk(program, b"".join(piece + b"%name%" for piece in pieces))
    lines = iter(replied[len(reply(BANNER)) :].split(b"\r\n"))
    for piece in pieces:
        said: list[bytes] = []
        for _ in range(piece.count(b"%") + 2):
            while (line := next(lines)) != b"m-ready":
                assert re.fullmatch(rb"[me]-[ -~]+", line), (piece, line)
                said.append(line)
        assert said[-1] == b"m-name-dut-[tinygen]", piece
    assert list(lines) == [b""]


def test_the_sanitizers_would_tell(program: Path, tmp_path: Path) -> None:
    """A line buffer without its last byte is found."""
    write_fakes(tmp_path)
    text = PROTOCOL.read_text("utf-8")
    assert text.count("tg_line_length < sizeof tg_line") == 1
    (tmp_path / "broken.c").write_text(text.replace("< sizeof tg_line", "<= sizeof tg_line"))
    flags = ["-std=c99", "-O1", *SANITIZE, "-DFAKE_PROGRAM", LAYER_CYCLES, "-I.", *INCLUDES]
    run(["gcc", *flags, "fake.c", "broken.c", "-o", "program"], tmp_path)
    done = subprocess.run([tmp_path / "program"], input=b"x" * 82 + b"%", capture_output=True, check=False, timeout=60)
    assert done.returncode != 0


CORTEX = ["arm-none-eabi-gcc", "-mthumb", "-O2"]
COMPILERS = {
    "cortex-m0": [*CORTEX, "-mcpu=cortex-m0"],
    "cortex-m4": [*CORTEX, "-mcpu=cortex-m4"],
    "avr": ["avr-gcc", "-Os", "-mmcu=atmega328p"],
    "gcc": ["gcc", "-O2"],
    "clang": ["clang", "-O2"],
}


@pytest.mark.parametrize("command", COMPILERS.values(), ids=COMPILERS)
def test_no_warnings(command: list[str], tmp_path: Path) -> None:
    write_fakes(tmp_path)
    for defines in ([], [LAYER_CYCLES]):
        run([*command, *WARNINGS, "-Wpedantic", *defines, "-I.", *INCLUDES, "-c", PROTOCOL, "-o", "x.o"], tmp_path)


def sections(size: str, folder: Path) -> dict[str, int]:
    """Section -> bytes of an object file."""
    return {
        name: int(n) for name, n in re.findall(r"^(\.\S+)\s+(\d+)", run([size, "-A", "x.o"], folder).decode(), re.M)
    }


def test_it_is_small(tmp_path: Path) -> None:
    """3.5 kB on the smallest Cortex-M; on AVR no byte of text in RAM, where 13 bytes are this model's input."""
    write_fakes(tmp_path)
    flags = ["-std=c99", "-I.", *INCLUDES, "-c", PROTOCOL, "-o", "x.o"]
    run([*CORTEX, "-mcpu=cortex-m0plus", *flags], tmp_path)
    arm = sections("arm-none-eabi-size", tmp_path)
    assert sum(n for name, n in arm.items() if name.startswith((".text", ".rodata"))) <= 3584
    run([*COMPILERS["avr"], *flags], tmp_path)
    avr = sections("avr-size", tmp_path)
    assert avr[".data"] == 0 and ".rodata" not in avr
    assert avr[".bss"] <= 13 + 140


AVR_CORE = Path("/usr/share/arduino/hardware/arduino/avr")
AVR_BOARDS = {"uno": ("atmega328p", "standard"), "mega": ("atmega2560", "mega"), "leonardo": ("atmega32u4", "leonardo")}
STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Werror")


@pytest.mark.parametrize("board", AVR_BOARDS)
def test_the_arduino_board_compiles_for_avr(board: str, tmp_path: Path) -> None:
    mcu, variant = AVR_BOARDS[board]
    defines = ["-DF_CPU=16000000L", "-DARDUINO=10808", "-DARDUINO_ARCH_AVR", "-DUSB_VID=0x2341", "-DUSB_PID=0x8036"]
    headers = [f"-I{AVR_CORE / 'cores' / 'arduino'}", f"-I{AVR_CORE / 'variants' / variant}", *INCLUDES]
    flags = ["-std=gnu++11", "-Os", *STRICT, f"-mmcu={mcu}", *defines, *headers]
    run(["avr-g++", *flags, "-c", ARDUINO, "-o", "x.o"], tmp_path)
    assert b"__vector_" in run(["avr-nm", "--defined-only", "x.o"], tmp_path), "no Timer1"


STUB = """\
#include <stddef.h>
#include <stdint.h>
struct Port {
    void begin(unsigned long);
    int read();
    size_t write(const uint8_t *, size_t);
    void flush();
    explicit operator bool();
};
extern Port Serial;
extern "C" unsigned long micros(), millis();
extern "C" void delayMicroseconds(unsigned int);
extern uint32_t SystemCoreClock;
struct Chip { uint32_t getCycleCount(); };
extern Chip ESP;
"""
"""What tg_arduino.cpp takes of an Arduino core."""
CORES = {
    "cortex-m4": (["arm-none-eabi-g++", "-mthumb", "-mcpu=cortex-m4", "-DF_CPU=SystemCoreClock"], "micros"),
    "cortex-m33": (["arm-none-eabi-g++", "-mthumb", "-mcpu=cortex-m33"], "micros"),
    "cortex-m0plus": (["arm-none-eabi-g++", "-mthumb", "-mcpu=cortex-m0plus", "-DF_CPU=133000000L"], "micros"),
    "esp32": (["clang++", "-DESP32", "-DF_CPU=240000000L"], "getCycleCount"),
}


@pytest.mark.parametrize("core", CORES)
def test_the_arduino_board_compiles_for_other_cores(core: str, tmp_path: Path) -> None:
    """Against the declarations of a core: theirs are not to be had here."""
    command, symbol = CORES[core]
    (tmp_path / "Arduino.h").write_text(STUB)
    flags = ["-std=gnu++14", "-Os", *STRICT, "-DARDUINO=10819", "-I.", *INCLUDES]
    run([*command, *flags, "-c", ARDUINO, "-o", "x.o"], tmp_path)
    assert symbol.encode() in run(
        ["nm", "-u", "x.o"] if core == "esp32" else ["arm-none-eabi-nm", "-u", "x.o"], tmp_path
    )
