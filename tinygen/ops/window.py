"""Geometry that windowed operators share: output sizes, and where SAME padding puts its rows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tinygen.ir import Array
from tinygen.ops.spec import Context, Options

PADDINGS = ("SAME", "VALID")


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
            raise context.error("window is larger than its input", found=f"{reach} over {length}", expected="VALID to fit")
        output.append(out)
        pad.append(before)
    return Geometry(in_size, kernel, (output[0], output[1]), window.stride, window.dilation, (pad[0], pad[1]))


def patches(x: Array, geometry: Geometry, fill: int) -> Array:
    """Every window of x [N, H, W, C]: [N, OH, OW, KH, KW, C], `fill` where a window reaches outside."""
    (kernel_h, kernel_w), (out_h, out_w) = geometry.kernel, geometry.output
    spans = [
        (out - 1) * stride + (size - 1) * gap + 1
        for out, stride, size, gap in zip(
            geometry.output, geometry.stride, geometry.kernel, geometry.dilation, strict=True
        )
    ]
    height, width = x.shape[1:3]
    top, left = geometry.pad
    bottom, right = max(0, spans[0] - top - height), max(0, spans[1] - left - width)
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    batch, row, column, channel = padded.strides
    (stride_h, stride_w), (gap_h, gap_w) = geometry.stride, geometry.dilation
    return np.lib.stride_tricks.as_strided(
        padded,
        (x.shape[0], out_h, out_w, kernel_h, kernel_w, x.shape[3]),
        (batch, row * stride_h, column * stride_w, row * gap_h, column * gap_w, channel),
        writeable=False,
    )
