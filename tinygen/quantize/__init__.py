"""From a float Keras model to a .tflite that fits: quantisation, pruning, distillation, codebooks."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it when it is loaded: only errors are shown
