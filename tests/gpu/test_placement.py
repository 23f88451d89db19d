"""What the tests of this folder see: operations without a GPU kernel, pinned ones, and tensors in the host's memory."""

import pytest
import tensorflow as tf
from placement import Operation, large_on_host, operations_of, pinned, without_gpu_kernel
from traced_functions import traced_functions

pytestmark = pytest.mark.gpu_wheels
LARGE = tf.TensorSpec([2, 1000], tf.int32)


def test_tensorflow_is_the_locked_one_for_gpus() -> None:
    assert tf.test.is_built_with_cuda()


def operations(function, *arguments) -> list[Operation]:
    return operations_of(tf.function(function, autograph=False).get_concrete_function(*arguments).graph)


def test_operation_without_gpu_kernel() -> None:
    found = operations(tf.io.decode_jpeg, tf.TensorSpec([], tf.string))
    assert without_gpu_kernel(found) == {"DecodeJpeg()": 1}


def test_dtype_without_gpu_kernel() -> None:
    def places(x):
        return tf.argmax(x, output_type=tf.int32), tf.argmax(tf.cast(x, tf.uint8), output_type=tf.int32)

    found = operations(places, tf.TensorSpec([5, 3], tf.float32))
    assert without_gpu_kernel(found) == {"ArgMax(T=uint8, Tidx=int32, output_type=int32)": 1}


def test_functions_that_are_called_are_looked_into() -> None:
    def decoded_if_there_is_one(contents):
        there = tf.strings.length(contents[0]) > 0
        return tf.cond(
            there, lambda: tf.map_fn(tf.io.decode_png, contents, tf.uint8), lambda: tf.zeros([1, 1, 1, 3], tf.uint8)
        )

    found = without_gpu_kernel(operations(decoded_if_there_is_one, tf.TensorSpec([None], tf.string)))
    assert found["DecodePng(dtype=uint8)"] == 1


def test_int32_lies_on_the_host() -> None:
    found = operations(lambda x: (x < 3, tf.cast(x, tf.int64) < 3), LARGE)
    assert without_gpu_kernel(found) == {}
    assert large_on_host(found, 1999) == {"Less: x int32 [2, 1000]": 1, "Less: z bool [2, 1000]": 1}
    assert large_on_host(found, 2000) == {}


def test_pinned_operations_are_told_apart_and_what_passes_in_or_out_is_copied() -> None:
    def chain(x):
        x = tf.exp(x)
        with tf.device("CPU:0"):
            x = tf.sqrt(tf.square(x))
        return tf.sin(x)

    found = operations(chain, tf.TensorSpec([2000], tf.float32))
    assert (pinned(found), without_gpu_kernel(found)) == ({"Square", "Sqrt"}, {})
    assert large_on_host(found, 1000) == {"Square: x float32 [2000]": 1, "Sin: x float32 [2000]": 1}


def test_unknown_shapes_count_as_large() -> None:
    found = operations(lambda x: tf.cast(x < 3, tf.float32), tf.TensorSpec([None, 2], tf.int32))
    assert large_on_host(found, 10**9) == {"Less: x int32 [?, 2]": 1, "Less: z bool [?, 2]": 1}
    found = operations(lambda x: tf.cast(x < 3, tf.float32), tf.TensorSpec(None, tf.int32))
    assert large_on_host(found, 10**9) == {"Less: x int32 [unknown]": 1, "Less: z bool [unknown]": 1}


def test_shapes_reach_into_functions() -> None:
    def halved(x):
        return tf.cond(x[0, 0] > 0, lambda: x // 2, lambda: x)

    assert large_on_host(operations(halved, LARGE), 1000)["FloorDiv: x int32 [2, 1000]"] == 1


def test_arguments_of_several_tensors() -> None:
    def parted(x):
        return [tf.cast(part, tf.float32) for part in tf.split(tf.concat([x, x], axis=0), [1, 3])]

    found = operations(parted, LARGE)
    assert large_on_host(found, 1000) == {
        "ConcatV2: values int32 [2, 1000]": 2,
        "ConcatV2: output int32 [4, 1000]": 1,
        "SplitV: value int32 [4, 1000]": 1,
        "SplitV: output int32 [3, 1000]": 1,
    }


def test_traced_functions_compute_nothing() -> None:
    computed = []

    class Step:
        def __init__(self) -> None:
            self._inner = tf.function(lambda x: x * 2, autograph=False)
            self._outer = tf.function(self._compute, autograph=False)

        def _compute(self, x):
            tf.py_function(computed.append, [x], [])
            return {"twice": self._inner(x)}

        def __call__(self, x):
            return self._outer(x)

    with traced_functions() as graphs:
        step = Step()
        assert step(tf.ones([3]))["twice"].numpy().tolist() == [0, 0, 0]
        step(tf.ones([3]))
    assert computed == []
    assert [sorted({each.kind for each in operations_of(graph)} & {"EagerPyFunc", "Mul"}) for graph in graphs] == [
        ["EagerPyFunc", "Mul"]
    ]
