#!/usr/bin/env bash
# The main job on a real model, from nothing: compile to C, build it for a board, run that in an emulator, prove every
# layer bit-exact, and judge it on its test set.
set -euo pipefail
cd "$(dirname "$0")/.."
EXTRAS=emulate bash scripts/setup.sh gcc libc6-dev gcc-arm-none-eabi libnewlib-arm-none-eabi
export PATH="$PWD/.venv/bin:$PATH"

model=examples/digits/digits.tflite
echo; echo "== tinygen inspect: what is in the model"
tinygen inspect "$model"
echo; echo "== tinygen compile: the model as C for a 20 kB board"
tinygen compile "$model" --board bluepill_f103c8 --format c --output build/digits
echo; echo "== tinygen verify: every layer on the test set, on this computer and on the emulated board"
tinygen verify "$model" --board bluepill_f103c8 --emulate --inputs examples/digits/test.npz
