#!/usr/bin/env bash
# Sets up and passes the tests: lint, types, the test suite. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
EXTRAS=dev bash scripts/setup.sh gcc g++ libc6-dev binutils make clang gcc-arm-none-eabi libnewlib-arm-none-eabi gcc-avr avr-libc \
    libsimavr-dev simavr arduino-core-avr cmake gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-arm
export PATH="$PWD/.venv/bin:$PATH"
ruff check .
ruff format --check .
mypy
pytest -n "${TINYGEN_JOBS:-2}" "$@"
