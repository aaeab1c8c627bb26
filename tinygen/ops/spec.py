"""The record that is one operator: how it is read, checked, computed, costed and turned into C."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinygen.errors import ModelError
from tinygen.ir import ABSENT, Array, Graph, Node, Tensor
from tinygen.quant import Numerics


class Options:
    """An operator's options as the file has them, by the schema's field names."""

    def __init__(self, fields: Mapping[str, Any], location: str) -> None:
        self._fields, self._location = fields, location

    def get(self, name: str, default: Any) -> Any:
        """The field's value, or `default` when the file leaves it out."""
        value = self._fields.get(name)
        return default if value is None else value

    def integer(self, name: str, default: int, least: int = -(2**31)) -> int:
        """An integer field, at least `least`."""
        value = int(self.get(name, default))
        if value < least:
            raise ModelError(
                f"option {name} is out of range", where=self._location, found=str(value), expected=f">= {least}"
            )
        return value

    def choice(self, name: str, names: Sequence[str]) -> str:
        """An enumeration field as its name; the first name is the default."""
        value = int(self.get(name, 0))
        if not 0 <= value < len(names):
            raise ModelError(
                f"option {name} is unknown", where=self._location, found=str(value), expected=", ".join(names)
            )
        return names[value]


@dataclass(frozen=True)
class Context:
    """A node with its tensors at hand: what every function of an OpSpec is given."""

    node: Node
    tensors: Mapping[int, Tensor]
    numerics: Numerics

    @property
    def attributes(self) -> Any:
        """The node's attributes, of the operator's own class."""
        return self.node.attributes

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The inputs that are there."""
        return tuple(self.tensors[i] for i in self.node.inputs if i != ABSENT)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """All outputs."""
        return tuple(self.tensors[i] for i in self.node.outputs)

    @property
    def output(self) -> Tensor:
        """The first output."""
        return self.tensors[self.node.outputs[0]]

    @property
    def wide(self) -> bool:
        """Whether it reads or writes activations of 16 bits."""
        return any(tensor.dtype == "int16" and tensor.data is None for tensor in (*self.inputs, *self.outputs))

    def has_input(self, index: int) -> bool:
        """Whether input `index` is there."""
        return index < len(self.node.inputs) and self.node.inputs[index] != ABSENT

    def input(self, index: int = 0) -> Tensor:
        """Input `index`; ModelError when the node has none."""
        if not self.has_input(index):
            raise self.error(f"input {index} is missing", expected="a tensor")
        return self.tensors[self.node.inputs[index]]

    def constant(self, index: int) -> Array:
        """The value of input `index`; ModelError when it is computed at run time."""
        tensor = self.input(index)
        if tensor.data is None:
            raise self.error(
                f"input {index} ('{tensor.name}') must be known at compile time",
                found="a computed tensor",
                expected="a constant",
                remedy="convert the model with fixed shapes and parameters",
            )
        return tensor.data

    def integers(self, index: int) -> tuple[int, ...]:
        """Input `index`, a constant, as plain integers in row-major order."""
        values = self.constant(index)
        if values.dtype.kind not in "iu":
            raise self.error(f"input {index} must hold integers", found=str(values.dtype), expected="int32")
        return tuple(int(value) for value in values.ravel())

    def error(self, what: str, *, found: str = "", expected: str = "", remedy: str = "") -> ModelError:
        """A ModelError that names this node."""
        return ModelError(what, where=self.node.location, found=found, expected=expected, remedy=remedy)


@dataclass(frozen=True)
class Cost:
    """What a node does once, whatever the kernel."""

    macs: int = 0
    """Multiply-accumulates over the outputs' full windows."""
    outputs: int = 0
    """Elements written."""


@dataclass(frozen=True)
class Constant:
    """An array kept in flash and handed to the kernel."""

    role: str
    """What it is for, as a C identifier: weights, bias, multiplier, table."""
    data: Array


@dataclass(frozen=True)
class Overlap:
    """Where an output may share bytes with an input that dies, as the distance from its first byte to the output's.

    Safe at most `most`, at least `least` (None: no such bound), or at one of `exact`.
    """

    operand: int
    """Of the node's inputs."""
    most: int | None = None
    least: int | None = None
    exact: tuple[int, ...] = ()
    output: int = 0
    """Of the node's outputs."""


@dataclass(frozen=True)
class Kernel:
    """A node ready for its template: the numbers that it prints and the arrays that it takes.

    The C function's parameters are, in this order: the inputs at `operands`, the `constants`, the scratch buffer (when
    `scratch_bytes` is not 0), the outputs. Outputs lie apart from inputs unless `overlaps` says more; scratch lies
    apart from inputs unless `scratch_overlaps` does (their `output` means nothing), and always apart from outputs.
    """

    values: Mapping[str, Any]
    operands: tuple[int, ...] = (0,)
    constants: tuple[Constant, ...] = ()
    scratch_bytes: int = 0
    overlaps: tuple[Overlap, ...] = ()
    scratch_overlaps: tuple[Overlap, ...] = ()


@dataclass(frozen=True)
class Gathered:
    """Steps of a sequence that are copied from rows into scratch, side by side, before a kernel reads them."""

    height: int
    stride: int
    pad: int
    """As those of `Rows`."""
    rows: int
    """Of the sequence."""
    row_bytes: int
    last_bytes: int
    """Of its last row."""
    offset: int
    """Bytes of the first row that are left out."""
    copied_bytes: int
    """Of all rows, from there on."""
    fill: int
    """The byte that rows outside of the sequence are made of."""
    out_rows: int

    @property
    def bytes(self) -> int:
        """In scratch, so that words may follow."""
        return -(-self.copied_bytes // 4) * 4

    @property
    def padded(self) -> bool:
        """Whether any row is outside, or shorter than the others."""
        behind = (self.out_rows - 1) * self.stride - self.pad + self.height
        return self.pad > 0 or behind > self.rows or self.last_bytes < self.row_bytes


@dataclass(frozen=True)
class Rows:
    """A node computed one row (of its height) at a time.

    Row y of the output needs `height` rows of each input, from y * `stride` - `pad` on; those outside are padding, and
    the kernel's affair.
    Its C function takes what `kernel` says, a row of each tensor where the whole was. When `table` is set, an input is
    two parameters instead, `const int8_t *base, const uint16_t *rows`: row i of the input begins at base + rows[i]; and
    behind the inputs comes `int32_t y`, the number of the output's row.
    """

    kernel: Kernel
    template: str
    height: int = 1
    stride: int = 1
    pad: int = 0
    table: bool = False
    reads_first: bool = False
    """Whether all is read before the first byte of the output is written: then the two may overlap in any way."""
    gathers: bool = False
    """Whether a turn takes one row of the input instead, and the last one leaves the output whole.

    Its C function then takes, behind the inputs, `int32_t y`, the number of the row; scratch keeps what is gathered.
    """
    extra_cycles: int = 0
    """About what all rows take more than the whole at once, beside their calls."""
    small: Rows | None = None
    """The same with less scratch, for more cycles."""
    gathered: Gathered | None = None
    """What of the input its function is given as one: a copy at the beginning of its scratch."""


@dataclass(frozen=True)
class Leaner:
    """Another variant of an operator whose function is shorter, or one that more layers share."""

    variant: str
    code_bytes: Callable[[Context], int]
    """About what a layer's function takes that this variant has no need of."""
    own_bytes: int
    """About what its own takes, where no other layer has it."""
    extra_cycles: Callable[[Context], float]
    """About what a layer takes more with it."""


@dataclass(frozen=True)
class Variant:
    """One way to compute an operator, for targets with `features`; `when` states its special case.

    `params` is there when its template prints other numbers, or takes other arrays, than those of the operator; `rows`
    when it can compute a node row by row.
    """

    name: str
    template: str
    features: frozenset[str] = frozenset()
    when: Callable[[Context], bool] = lambda context: True
    params: Callable[[Context], Kernel] | None = None
    rows: Callable[[Context], Rows | None] | None = None
    block: int = 1
    """Pixels that its kernel takes at a time, where it takes pixels."""
    partial: float = 1.0
    """What a block takes that is not full, of the time of a full one."""
    saves: Callable[[Context], float] | None = None
    """About the cycles that it takes less than the others; of those that are not for every board."""
    leaner: Leaner | None = None
    """What takes its place where its function saves too little for its bytes."""
    wide: bool = False
    """Whether it is for activations of 16 bits as well: those that ask for features are not, unless they say so."""

    def fits(self, context: Context, features: frozenset[str]) -> bool:
        """Whether it can compute this node on a core with `features`."""
        right_width = self.wide or not self.features or not context.wide
        return self.features <= features and right_width and self.when(context)


@dataclass(frozen=True)
class OpSpec:
    """One operator.

    read       raw options -> a frozen dataclass of attributes
    check      raises ModelError when shapes, types, quantisation or options are not what the kernel can compute
    reference  input arrays (None where absent) -> output arrays: the meaning, in NumPy integers
    params     what the template prints
    cost       multiply-accumulates and outputs
    variants   best first; plain C last. None for an operator that is always folded or an alias.
    compact    those that store weights in fewer bits, for time and RAM: best first
    fast       those that take less time, for much RAM or flash: that with least flash first
    alias      the output is the first input's bytes under another shape: no code, no memory
    moves      every element of an output is one of an input, as it is
    pixelwise  whether a pixel of the output needs nothing of the inputs but the same pixel: rows are small tensors then
    """

    name: str
    tflite: str
    read: Callable[[Options], Any]
    check: Callable[[Context], None]
    reference: Callable[[Context, Sequence[Any]], list[Array]]
    params: Callable[[Context], Kernel]
    cost: Callable[[Context], Cost]
    variants: tuple[Variant, ...] = field(default=())
    compact: tuple[Variant, ...] = field(default=())
    fast: tuple[Variant, ...] = field(default=())
    alias: bool = False
    moves: bool = False
    pixelwise: Callable[[Context], bool] | None = None

    def variant_for(self, context: Context, features: frozenset[str]) -> Variant:
        """The best variant for this node on a core with `features`."""
        for variant in self.variants:
            if variant.fits(context, features):
                return variant
        raise context.error("no kernel", found=f"{self.name} on {', '.join(sorted(features)) or 'plain C'}")


@dataclass(frozen=True)
class NoAttributes:
    """The attributes of an operator without options."""


def no_attributes(options: Options) -> NoAttributes:
    """`read` of an operator without options."""
    return NoAttributes()


def elementwise_cost(context: Context) -> Cost:
    """`cost` of an operator that multiplies nothing."""
    return Cost(outputs=sum(tensor.size for tensor in context.outputs))


def no_kernel(context: Context) -> Kernel:
    """`params` of an alias or of an operator that is always folded."""
    raise context.error("operator is computed at compile time only", found="an input known at run time only")


def context_of(graph: Graph, node: Node, numerics: Numerics) -> Context:
    """The context of `node` in `graph`."""
    return Context(node, graph.tensors, numerics)
