"""Builds the Arduino core of Debian's arduino-core-avr into the project."""

from pathlib import Path

from SCons.Script import DefaultEnvironment

ARDUINO = Path("/usr/share/arduino/hardware/arduino/avr")

env = DefaultEnvironment()
board = env.BoardConfig()
core = ARDUINO / "cores" / board.get("build.core")
variant = ARDUINO / "variants" / board.get("build.variant")
env.Append(CPPDEFINES=[("ARDUINO", 10808), "ARDUINO_ARCH_AVR"], CPPPATH=[str(core), str(variant)])
# The core is not ours to keep free of warnings, and an old avr-gcc lacks a macro that it needs.
core_env = env.Clone()
core_env.Append(CCFLAGS=["-w"], CPPDEFINES=[("DECIMAL_DIG", "__DECIMAL_DIG__")])
env.Prepend(LIBS=[core_env.BuildLibrary("$BUILD_DIR/FrameworkArduino", str(core))])
