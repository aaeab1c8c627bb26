"""MINIMUM: the smaller of two elements, stored values compared as they are; int8, int32, and int64 when constant."""

from __future__ import annotations

import numpy as np

from tinygen.ops import maximum

SPEC = maximum.operator("minimum", "MINIMUM", np.minimum, "<")
