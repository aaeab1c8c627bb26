"""ARG_MAX: the position of the greatest int8 element along one axis, the first of equals."""

from __future__ import annotations

import numpy as np

from tinygen.ops import reduction

SPEC = reduction.position_operator("arg_max", "ARG_MAX", np.argmax, "Position of the greatest element", ">")
