#!/usr/bin/env bash
# The main job on a real model, from nothing: compile it for a board, prove every layer bit-exact, build the firmware, and
# run that in an emulator of the board on the model's test set.
set -euo pipefail
cd "$(dirname "$0")/.."
EXTRAS=emulate bash scripts/setup.sh gcc libc6-dev cmake make gcc-arm-none-eabi libnewlib-arm-none-eabi
export PATH="$PWD/.venv/bin:$PATH"

model=examples/digits/digits.tflite
echo; echo "== tinygen inspect: what is in the model"
tinygen inspect "$model"
echo; echo "== tinygen compile: a firmware project for a board with 20 kB of RAM"
tinygen compile "$model" --board bluepill_f103c8 --format cmake --output build/digits
echo; echo "== tinygen verify: every layer on the test set, on this computer and on the emulated board"
tinygen verify "$model" --board bluepill_f103c8 --emulate --inputs examples/digits/test.npz
echo; echo "== tinygen run: its firmware, built and run in the emulated board on the test set"
tinygen run build/digits --emulator --inputs examples/digits/test.npz
echo; echo "== tinygen profile: what an inference costs on the board, layer by layer"
tinygen profile "$model" --board bluepill_f103c8
