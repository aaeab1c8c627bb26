"""Compiles and links a project without a framework for a Cortex-M, as PlatformIO's own platforms do."""

from pathlib import Path

from SCons.Script import Default, DefaultEnvironment

# What PlatformIO runs the tests with: QEMU says what the program sends. It must end when PlatformIO kills its parent.
QEMU = """#!/bin/sh
exec timeout 60 setpriv --pdeathsig KILL \\
    qemu-system-arm -M {machine} -display none -monitor none -serial stdio -kernel {elf} </dev/null
"""

env = DefaultEnvironment()
board = env.BoardConfig()
processor = f"-mcpu={board.get('build.cpu')}"
tools = {
    "AR": "ar",
    "AS": "as",
    "CC": "gcc",
    "CXX": "g++",
    "OBJCOPY": "objcopy",
    "RANLIB": "ranlib",
    "SIZETOOL": "size",
}
env.Replace(**{variable: f"arm-none-eabi-{tool}" for variable, tool in tools.items()})
# The linker's driver is that of C: Debian's g++ wants a library that it does not bring.
env.Replace(LINK="$CC", ARFLAGS=["rc"], PROGNAME="firmware", PROGSUFFIX=".elf")
env.Replace(
    SIZEPROGREGEXP=r"^(?:\.text|\.data|\.rodata|\.text.align|\.ARM.exidx)\s+(\d+).*",
    SIZEDATAREGEXP=r"^(?:\.data|\.bss|\.noinit)\s+(\d+).*",
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
)
env.Append(
    ASFLAGS=["-mthumb", processor],
    CCFLAGS=["-Os", "-ffunction-sections", "-fdata-sections", "-Wall", "-mthumb", "-nostdlib", processor],
    CXXFLAGS=["-fno-rtti", "-fno-exceptions"],
    CPPDEFINES=[("F_CPU", "$BOARD_F_CPU")],
    LINKFLAGS=["-Os", "-Wl,--gc-sections,--relax", "-mthumb", "--specs=nano.specs", "--specs=nosys.specs", processor],
    LIBS=["c", "gcc", "m"],
)


def write_program(target: list, source: list, env: object) -> None:
    """Write the script that runs the firmware in the emulated board."""
    elf = Path(str(target[0])).resolve()
    script = elf.with_name("program")
    script.write_text(QEMU.format(machine=board.get("build.machine"), elf=elf))
    script.chmod(0o755)


program = env.BuildProgram()
if board.get("build.machine", ""):
    env.AddPostAction(program, write_program)
Default(env.Alias("buildprog", program))
