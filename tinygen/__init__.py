"""tinygen turns a quantised neural network into plain C that equals TensorFlow Lite bit for bit."""

__version__ = "0.1.0"
