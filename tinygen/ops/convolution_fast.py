"""The kernels that a convolution may have where RAM and flash are given for time: each says what it saves."""

from __future__ import annotations

from tinygen.ops import (
    convolution_chain_v6m,
    convolution_plain,
    convolution_widened_v6m,
    pointwise_chain_v6m,
    winograd_dsp,
    winograd_v6m,
)
from tinygen.ops.convolution_kernels import variant
from tinygen.ops.spec import Context


def _is_widened(context: Context) -> bool:
    """Whether Armv6-M widens rows, and does not chain the sums of outputs."""
    chained = convolution_plain.is_pointwise(context) and pointwise_chain_v6m.applies(context)
    return convolution_widened_v6m.applies(context) and not chained and not convolution_chain_v6m.applies(context)


FAST = (
    variant(
        "dsp",
        "winograd_dsp",
        winograd_dsp.TEMPLATE,
        winograd_dsp.applies,
        winograd_dsp.params,
        saves=winograd_dsp.saved_cycles,
    ),
    variant(
        "dsp",
        "winograd_flash_dsp",
        winograd_dsp.TEMPLATE,
        winograd_dsp.applies,
        winograd_dsp.flash_params,
        saves=winograd_dsp.saved_cycles_in_flash,
    ),
    variant(
        "armv6m",
        "winograd_v6m",
        winograd_v6m.TEMPLATE,
        winograd_v6m.applies,
        winograd_v6m.params,
        saves=winograd_v6m.saved_cycles,
    ),
    variant(
        "armv6m",
        "widened_large_v6m",
        convolution_widened_v6m.TEMPLATE,
        _is_widened,
        convolution_widened_v6m.large_params,
        saves=convolution_widened_v6m.saved_cycles,
    ),
)
