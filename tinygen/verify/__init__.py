"""Proof: the generated C, the NumPy reference and the reference interpreter compared, layer by layer."""
