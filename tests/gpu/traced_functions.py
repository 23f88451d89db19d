"""The graphs of what a step or an evaluation would compute: everything is traced, and nothing computed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import tensorflow as tf


@contextmanager
def traced_functions() -> Iterator[list[tf.Graph]]:
    """The graphs of the `tf.function`s that are made and called inside; a call answers with zeros.

    This is the one place that knows how the graphs of a training step are found: it needs no name of the step's.
    """
    graphs: list[tf.Graph] = []
    make = tf.function

    def made(python_function: Any = None, **options: Any) -> Any:
        if python_function is None:  # a decorator with options
            return lambda decorated: made(decorated, **options)
        return _Traced(make(python_function, **options), graphs)

    with mock.patch.object(tf, "function", made):
        yield graphs


class _Traced:
    """Stands in for a `tf.function`."""

    def __init__(self, function: Any, graphs: list[tf.Graph]) -> None:
        self._function = function
        self._graphs = graphs

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if tf.inside_function():
            return self._function(*arguments, **named)  # a part of the graph that is being traced
        traced = self._function.get_concrete_function(*arguments, **named)
        if traced.graph not in self._graphs:
            self._graphs.append(traced.graph)
        return tf.nest.map_structure(_zeros, traced.structured_outputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)


def _zeros(output: Any) -> tf.Tensor:
    return tf.zeros([side or 1 for side in output.shape], output.dtype)
