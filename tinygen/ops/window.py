"""Geometry that windowed operators share: output sizes, and where SAME padding puts its rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from tinygen.ir import Array
from tinygen.ops.spec import Context, Options
from tinygen.quant import ACTIVATIONS

PADDINGS = ("SAME", "VALID")
LONGEST_REACH = 2**30
"""Rows or columns: positions in the generated code then stay inside 32 bits."""


@dataclass(frozen=True)
class Window:
    """Stride, dilation and padding of a window that slides over height and width."""

    padding: str
    stride: tuple[int, int]
    dilation: tuple[int, int] = (1, 1)
    extra: tuple[int, int, int, int] = field(default=(0, 0, 0, 0))
    """Rows and columns that a folded PAD adds around the input first: top, bottom, left, right."""


def read_window(options: Options, dilated: bool = True) -> Window:
    """The window of a convolution or pooling."""
    dilation = (1, 1)
    if dilated:
        dilation = (options.integer("dilationHFactor", 1, 1), options.integer("dilationWFactor", 1, 1))
    stride = (options.integer("strideH", 1, 1), options.integer("strideW", 1, 1))
    return Window(options.choice("padding", PADDINGS), stride, dilation)


@dataclass(frozen=True)
class Convolution:
    """Attributes of an operator that slides weights over its input."""

    window: Window
    activation: str


def read_convolution(options: Options) -> Convolution:
    """Attributes from the file's options."""
    return Convolution(read_window(options), options.choice("fusedActivationFunction", ACTIVATIONS))


@dataclass(frozen=True)
class Geometry:
    """All sizes of one sliding window, height before width."""

    input: tuple[int, int]
    kernel: tuple[int, int]
    output: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pad: tuple[int, int]
    """Rows above and columns left of the input; TFLite puts the odd row of SAME at the bottom and right."""

    def values(self) -> dict[str, int]:
        """The numbers a template prints."""
        return {
            "in_height": self.input[0],
            "in_width": self.input[1],
            "kernel_height": self.kernel[0],
            "kernel_width": self.kernel[1],
            "out_height": self.output[0],
            "out_width": self.output[1],
            "stride_height": self.stride[0],
            "stride_width": self.stride[1],
            "dilation_height": self.dilation[0],
            "dilation_width": self.dilation[1],
            "pad_top": self.pad[0],
            "pad_left": self.pad[1],
        }

    @property
    def padded(self) -> bool:
        """Whether any window reaches outside the input."""
        return any(self.pad) or any(
            (out - 1) * step + (size - 1) * gap - before >= length
            for out, step, size, gap, before, length in zip(
                self.output, self.stride, self.kernel, self.dilation, self.pad, self.input, strict=True
            )
        )


def covering(window: Geometry) -> Geometry:
    """A window without gaps that covers as much."""
    height, width = ((size - 1) * gap + 1 for size, gap in zip(window.kernel, window.dilation, strict=True))
    return replace(window, kernel=(height, width), dilation=(1, 1))


def geometry(context: Context, window: Window, in_size: tuple[int, int], kernel: tuple[int, int]) -> Geometry:
    """The sizes of `window` with a `kernel` over an input of height and width `in_size`."""
    output, pad = [], []
    for axis in range(2):
        before, after = window.extra[2 * axis], window.extra[2 * axis + 1]
        length = in_size[axis] + before + after
        reach = (kernel[axis] - 1) * window.dilation[axis] + 1
        if window.padding == "SAME":
            out = -(-length // window.stride[axis])
            before += max(0, (out - 1) * window.stride[axis] + reach - length) // 2
        else:
            out = (length - reach) // window.stride[axis] + 1
        if out < 1:
            raise context.error("VALID window is larger than its input", found=f"{reach} over {length}")
        if (out - 1) * window.stride[axis] + reach > LONGEST_REACH:
            raise context.error("window reaches too far", found=str(reach), expected=f"<= {LONGEST_REACH}")
        output.append(out)
        pad.append(before)
    return Geometry(in_size, kernel, (output[0], output[1]), window.stride, window.dilation, (pad[0], pad[1]))


def convolution_geometry(context: Context) -> Geometry:
    """The sizes of a convolution with weights [..., KH, KW, ...] over [N, H, W, C]."""
    height, width = context.input(0).shape[1:3]
    kernel_height, kernel_width = context.input(1).shape[1:3]
    return geometry(context, context.attributes.window, (height, width), (kernel_height, kernel_width))


def patches(x: Array, geometry: Geometry, fill: int) -> Array:
    """Every window of x [N, H, W, C]: [N, OH, OW, KH, KW, C], `fill` where a window reaches outside."""
    rows, columns = (
        np.arange(out)[:, None] * stride + np.arange(kernel) * gap - before
        for out, stride, kernel, gap, before in zip(
            geometry.output, geometry.stride, geometry.kernel, geometry.dilation, geometry.pad, strict=True
        )
    )
    height, width = x.shape[1:3]
    windows = x[:, rows.clip(0, height - 1)][:, :, :, columns.clip(0, width - 1)].transpose(0, 1, 3, 2, 4, 5)
    in_rows, in_columns = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    inside = in_rows[:, None, :, None] & in_columns[None, :, None, :]
    return np.where(inside[..., None], windows, np.asarray(fill, x.dtype))
