"""Decides how many steps of a loop are printed one after another."""

from __future__ import annotations


def chunk(count: int, most: int) -> int:
    """At most `most` of `count` steps, so that few are left over when that is repeated; 0 of none."""
    return min(range(min(count, most), min(count, most) // 2, -1), key=lambda size: count % size, default=0)
