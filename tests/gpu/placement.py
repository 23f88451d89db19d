"""What a GPU would make of a traced function: the kernel of each operation, and the tensors in the host's memory.

TensorFlow's wheel for GPUs registers its kernels wherever it is imported, so that both can be read without a GPU. As
TensorFlow does it, an operation without a GPU kernel for its types goes to the CPU, and a kernel of a GPU takes and
leaves some of its arguments in the host's memory: every int32 tensor above all. What lies there is copied over the bus
where an operation before or after it runs on the GPU. A program may also pin operations to the CPU.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import kernels, op_def_registry

Shape = tuple[int | None, ...] | None
"""None for a dimension that is not known before the step runs, or for all of them."""


@dataclass(frozen=True)
class Tensor:
    """An input or output of an operation."""

    argument: str
    """The name that the operation gives it."""
    dtype: str
    shape: Shape
    is_copied: bool = False
    """Of an input: whether either it or the operation that it comes from is pinned, and the other is not."""

    @property
    def elements(self) -> float:
        """How many there are; infinitely many where a dimension is not known."""
        if self.dtype == "resource":  # the handle of a variable
            return 1
        if self.shape is None or None in self.shape:
            return math.inf
        return math.prod(side for side in self.shape if side is not None)

    def __str__(self) -> str:
        sides = (
            "unknown" if self.shape is None else ", ".join("?" if side is None else str(side) for side in self.shape)
        )
        return f"{self.argument} {self.dtype} [{sides}]"


@dataclass(frozen=True)
class Operation:
    """A node of a graph, or of a function that the graph calls."""

    name: str
    kind: str
    types: tuple[tuple[str, tuple[str, ...]], ...]
    """The attributes that are types, and the dtypes of each."""
    is_pinned: bool
    """Whether the program wants it on the CPU, whatever kernels there are."""
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]

    @property
    def gpu_kernel(self) -> Any:
        """The KernelDef that a GPU runs it with, or None."""
        return _gpu_kernel(self.kind, self.types)

    @property
    def on_host(self) -> list[Tensor]:
        """Its inputs and outputs that stay in the host's memory, or come from there or go there; what pinned operations
        only hand to each other is left out."""
        tensors = [*self.inputs, *self.outputs]
        if self.is_pinned:
            return [tensor for tensor in tensors if tensor.is_copied]
        kernel = self.gpu_kernel
        host_arguments = {tensor.argument for tensor in tensors} if kernel is None else set(kernel.host_memory_arg)
        return [tensor for tensor in tensors if tensor.is_copied or tensor.argument in host_arguments]

    def __str__(self) -> str:
        types = ", ".join(f"{name}={'+'.join(dtypes)}" for name, dtypes in self.types)
        return f"{self.kind}({types})"


def without_gpu_kernel(operations: Iterable[Operation]) -> Counter[str]:
    """The operations that run on the CPU though the program does not say so."""
    return Counter(str(each) for each in operations if not each.is_pinned and each.gpu_kernel is None)


def pinned(operations: Iterable[Operation]) -> set[str]:
    """The kinds of the operations that the program wants on the CPU, but for constants and names."""
    return {each.kind for each in operations if each.is_pinned} - {"Const", "Identity", "NoOp"}


def large_on_host(operations: Iterable[Operation], most: int) -> Counter[str]:
    """The tensors with more than `most` elements that lie in the host's memory while a step runs."""
    return Counter(f"{each.kind}: {tensor}" for each in operations for tensor in each.on_host if tensor.elements > most)


def operations_of(graph: tf.Graph) -> list[Operation]:
    """Those of the graph and of every function that it calls. Its own arguments are none of them."""
    definition = graph.as_graph_def(add_shapes=True)
    functions = {function.signature.name: function for function in definition.library.function}
    found = [each for each in _operations(definition.node, {}) if each.kind != "Placeholder"]
    waiting, seen = _called(definition.node), set[str]()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            function = functions[name]
            arguments = {
                argument.name: _first_shape(function.arg_attr[place].attr)
                for place, argument in enumerate(function.signature.input_arg)
            }
            found += _operations(function.node_def, arguments)
            waiting |= _called(function.node_def)
    return found


def _operations(nodes: Sequence[Any], arguments: Mapping[str, Shape]) -> Iterator[Operation]:
    """Those of one graph or function; `arguments` are the shapes of what a function is called with."""
    shapes = dict(arguments)
    sources: dict[str, bool] = {}
    outputs = {}
    for node in nodes:
        tensors = [
            Tensor(argument, dtype, shape)
            for (argument, dtype), shape in zip(
                _arguments(node, "output_arg"), map(_shape, node.attr["_output_shapes"].list.shape), strict=True
            )
        ]
        outputs[node.name] = tensors
        # A graph calls an output by its place among all of them, a function by its place among those of one argument.
        places = Counter[str]()
        for place, tensor in enumerate(tensors):
            names = [f"{node.name}:{place}", f"{node.name}:{tensor.argument}:{places[tensor.argument]}"]
            names += [node.name] if place == 0 else []
            places[tensor.argument] += 1
            shapes |= dict.fromkeys(names, tensor.shape)
            if node.op != "Placeholder":
                sources |= dict.fromkeys(names, _is_pinned(node))
    for node in nodes:
        inputs = [name for name in node.input if not name.startswith("^")]
        yield Operation(
            name=node.name,
            kind=node.op,
            types=tuple(sorted((name, types) for name, value in node.attr.items() if (types := _types(value)))),
            is_pinned=_is_pinned(node),
            inputs=[
                Tensor(argument, dtype, shapes[name], sources.get(name, _is_pinned(node)) != _is_pinned(node))
                for (argument, dtype), name in zip(_arguments(node, "input_arg"), inputs, strict=True)
            ],
            outputs=outputs[node.name],
        )


def _is_pinned(node: Any) -> bool:
    return "CPU" in node.device


def _arguments(node: Any, which: str) -> Iterator[tuple[str, str]]:
    """Name and dtype of each tensor in a node's "input_arg" or "output_arg"; an argument may be several tensors."""
    for argument in getattr(op_def_registry.get(node.op), which):
        if argument.type_list_attr:
            types = list(node.attr[argument.type_list_attr].list.type)
        else:
            count = node.attr[argument.number_attr].i if argument.number_attr else 1
            types = [node.attr[argument.type_attr].type if argument.type_attr else argument.type] * count
        for each in types:
            yield argument.name, _dtype(each)


def _called(nodes: Sequence[Any]) -> set[str]:
    """The names of the functions that these nodes call."""
    values = [value for node in nodes for value in node.attr.values()]
    return {value.func.name for value in values if value.func.name} | {
        function.name for value in values for function in value.list.func
    }


@cache
def _gpu_kernel(kind: str, types: tuple[tuple[str, tuple[str, ...]], ...]) -> Any:
    wanted = dict(types)

    def fits(kernel: Any) -> bool:
        return all(
            set(wanted[constraint.name]) <= {_dtype(allowed) for allowed in constraint.allowed_values.list.type}
            for constraint in kernel.constraint
        )

    registered = kernels.get_registered_kernels_for_op(kind).kernel
    fitting = [each for each in registered if each.device_type in ("GPU", "DEFAULT") and not each.label and fits(each)]
    # One for every kind of device is taken where there is none for GPUs.
    return max(fitting, key=lambda kernel: (kernel.device_type == "GPU", kernel.priority), default=None)


def _types(value: Any) -> tuple[str, ...]:
    """Those of an attribute; none where it is no type."""
    holds = value.WhichOneof("value")
    if holds == "type":
        return (_dtype(value.type),)
    return tuple(map(_dtype, value.list.type)) if holds == "list" else ()


@cache
def _dtype(number: int) -> str:
    return str(tf.as_dtype(number).name)


def _first_shape(attributes: Mapping[str, Any]) -> Shape:
    return _shape(attributes["_output_shapes"].list.shape[0]) if "_output_shapes" in attributes else None


def _shape(proto: Any) -> Shape:
    return None if proto.unknown_rank else tuple(None if side.size < 0 else side.size for side in proto.dim)
