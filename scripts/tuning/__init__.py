"""Measures kernels: one layer with all its variants and sizes of blocks, or whole families of networks."""
