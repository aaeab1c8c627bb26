"""Compiles and links a project for an AVR with the avr-gcc on the path."""

from SCons.Script import Default, DefaultEnvironment

env = DefaultEnvironment()
board = env.BoardConfig()
machine = f"-mmcu={board.get('build.mcu')}"
env.Replace(AR="avr-gcc-ar", AS="avr-gcc", CC="avr-gcc", CXX="avr-g++", RANLIB="avr-gcc-ranlib", SIZETOOL="avr-size")
env.Replace(PROGNAME="firmware", PROGSUFFIX=".elf", ARFLAGS=["rcs"])
env.Replace(
    SIZEPROGREGEXP=r"^(?:\.text|\.data|\.bootloader)\s+(\d+).*",
    SIZEDATAREGEXP=r"^(?:\.data|\.bss|\.noinit)\s+(\d+).*",
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
)
env.Append(
    ASFLAGS=[machine, "-x", "assembler-with-cpp"],
    CFLAGS=["-std=gnu11"],
    CCFLAGS=[machine, "-Os", "-Wall", "-ffunction-sections", "-fdata-sections", "-flto"],
    CPPDEFINES=[("F_CPU", "$BOARD_F_CPU")],
    CXXFLAGS=["-std=gnu++11", "-fno-exceptions", "-fno-threadsafe-statics"],
    LIBS=["m"],
    LINKFLAGS=[machine, "-Os", "-flto", "-Wl,--gc-sections"],
)
Default(env.Alias("buildprog", env.BuildProgram()))
