"""From a float Keras model to a .tflite that fits: quantisation, pruning, distillation, codebooks."""
