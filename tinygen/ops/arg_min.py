"""ARG_MIN: the position of the least int8 element along one axis, the first of equals."""

from __future__ import annotations

import numpy as np

from tinygen.ops import reduction

SPEC = reduction.position_operator("arg_min", "ARG_MIN", np.argmin, "Position of the least element", "<")
