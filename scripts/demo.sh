#!/usr/bin/env bash
# The main job on a real model, from nothing: compile to C, prove it bit-exact, judge it on its test set.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh gcc libc6-dev
export PATH="$PWD/.venv/bin:$PATH"

model=examples/digits/digits.tflite
echo; echo "== tinygen inspect: what is in the model"
tinygen inspect "$model"
echo; echo "== tinygen compile: the model as C for a 20 kB board"
tinygen compile "$model" --board bluepill_f103c8 --format c --output build/digits
echo; echo "== tinygen verify: every layer on the test set, against the reference interpreter"
tinygen verify "$model" --board bluepill_f103c8 --inputs examples/digits/test.npz
