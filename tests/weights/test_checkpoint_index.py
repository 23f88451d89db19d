"""Which indexes are read, and what is said of others. Damage of every kind is in `tests/fuzz/`."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from made_checkpoints import DATA, FLOAT, SUFFIX, Checkpoint, proto

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.weights import checkpoint_index
from sagemaker_object_detection.weights.checkpoint import fingerprint, read_checkpoint
from sagemaker_object_detection.weights.checkpoint_index import UnreadableCheckpointError, judge_checkpoint

BIAS = f"model/a/bias{SUFFIX}".encode()
SHAPES = {
    "_CHECKPOINTABLE_OBJECT_GRAPH": (),
    f"model{SUFFIX}": (2, 3),
    f"model/a/bias{SUFFIX}": (3,),
    f"model/b/kernel{SUFFIX}": (1, 1, 4, 4),
    f"save_counter{SUFFIX}": (),
}


def save(prefix: Path, arrays: dict[str, np.ndarray]) -> Path:
    prefix.parent.mkdir(parents=True, exist_ok=True)
    tf.raw_ops.SaveV2(
        prefix=str(prefix), tensor_names=[*arrays], shape_and_slices=[""] * len(arrays), tensors=[*arrays.values()]
    )
    return prefix


@pytest.mark.parametrize("block", [1, 2, 100])
@pytest.mark.parametrize("interval", [1, 2, 16])
def test_what_is_written_here_is_what_tensorflow_reads(tmp_path: Path, block: int, interval: int) -> None:
    checkpoint = Checkpoint()
    checkpoint.table.block, checkpoint.table.interval = block, interval
    stored = read_checkpoint(checkpoint.write(tmp_path / "ckpt-0"))
    assert stored.shapes == SHAPES
    assert {name: stored.read(name).shape for name in stored.shapes} == SHAPES
    np.testing.assert_array_equal(stored.read(f"model{SUFFIX}"), [[0, 1, 2], [3, 4, 5]])


def test_index_of_several_blocks_as_tensorflow_writes_it(tmp_path: Path) -> None:
    arrays = {f"model/layer_{number}/{'kernel' * 20}{SUFFIX}": np.zeros(number % 3) for number in range(3_000)}
    prefix = save(tmp_path / "ckpt-0", arrays)
    assert prefix.with_suffix(".index").stat().st_size > 2**18  # the size of a block
    assert judge_checkpoint(prefix) == {name: array.shape for name, array in arrays.items()}


def test_every_type_of_numbers_is_read(tmp_path: Path) -> None:
    kinds = ("float16", "bfloat16", "float32", "float64", "bool")
    whole = (f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
    arrays = {kind: tf.ones([2], kind) for kind in (*kinds, *whole)}
    assert judge_checkpoint(save(tmp_path / "ckpt-0", arrays)) == dict.fromkeys(arrays, (2,))


def test_values_in_several_files_are_read(tmp_path: Path) -> None:
    parts = [save(tmp_path / f"part-{number}", {f"v{number}": np.full(3, number)}) for number in range(3)]
    merged = tmp_path / "ckpt-0"
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=[*map(str, parts)], destination_prefix=str(merged))
    stored = read_checkpoint(merged)
    assert [stored.read(f"v{number}").tolist() for number in range(3)] == [[number] * 3 for number in range(3)]
    (tmp_path / "ckpt-0.data-00001-of-00003").unlink()
    with pytest.raises(UserError) as caught:
        read_checkpoint(merged)
    assert str(caught.value) == (
        f"{merged}: the checkpoint cannot be read (ckpt-0.data-00001-of-00003: No such file or directory); expected "
        "ckpt-0.index and every ckpt-0.data-* file as they were written: copy the folder again"
    )


def changed(**values: object) -> Callable[[Checkpoint], None]:
    def change(checkpoint: Checkpoint) -> None:
        for name, value in values.items():
            setattr(checkpoint.variables[BIAS], name, value)

    return change


def named(name: bytes) -> Callable[[Checkpoint], None]:
    return lambda checkpoint: checkpoint.variables.update({name: checkpoint.variables.pop(BIAS)})


VARIABLE = f"variable 'model/a/bias{SUFFIX}'"
NEITHER = "the index is damaged, or not as TensorFlow writes one"
FAULTS: list[tuple[Callable[[Checkpoint], object], str]] = [
    (changed(shape=[-3]), f"{VARIABLE} has the shape [-3], which is none"),
    (changed(shape=[1] * 300), NEITHER),  # it takes more bytes than any description
    (changed(shape=[1] * 100), f"{VARIABLE} has 100 dimensions, and at most 8 are read"),
    (changed(shape=[2**62, 4]), f"{VARIABLE} is larger than 256 MB, which no detector's variable is"),
    (changed(shape=[0, 2**62, 2**62], size=0), f"{VARIABLE} is larger than 256 MB, which no detector's variable is"),
    (changed(shape=[4]), f"{VARIABLE} has 12 bytes, and its shape 16"),
    (changed(dtype=0), f"{VARIABLE} has the type 0, which no detector's variable has"),
    (changed(dtype=20), f"{VARIABLE} has the type 20, which no detector's variable has"),
    (changed(dtype=7), f"{VARIABLE} is a list of texts, which no detector has"),
    (changed(shape=[], dtype=7), f"{VARIABLE} holds a text of 0 bytes"),
    (changed(offset=-1), f"{VARIABLE} lies outside the checkpoint's files"),
    (changed(shard=1), f"{VARIABLE} lies outside the checkpoint's files"),
    (changed(offset=2**40), f"{VARIABLE} ends at byte {2**40 + 12} of ckpt-0.{DATA}, which has 176"),
    (changed(offset=0), f"variables 'model/a/bias{SUFFIX}' and '_CHECKPOINTABLE_OBJECT_GRAPH' lie in the same bytes"),
    (changed(more=proto((7, b""))), f"{VARIABLE} is stored in slices, which are not read"),
    (changed(raw=b""), f"{VARIABLE} has the type 0, which no detector's variable has"),
    (changed(raw=b"\xff"), f"{VARIABLE} has no description that can be read"),
    (named(b"a\x1b[2J"), r"variable 'a\x1b[2J' has a name that cannot be printed"),
    (named(b"a\xff"), r"variable 'a\\xff' has a name that cannot be printed"),
    (named(b"a" * 600), NEITHER),
    (lambda checkpoint: setattr(checkpoint, "order", [BIAS, BIAS]), NEITHER),
    (lambda checkpoint: setattr(checkpoint, "order", [BIAS, b"_CHECKPOINTABLE_OBJECT_GRAPH"]), NEITHER),
    (lambda checkpoint: setattr(checkpoint, "header", proto((1, 0))), "the index does not begin as one"),
    (lambda checkpoint: setattr(checkpoint, "header", proto((1, 1), (2, 1))), "the index does not begin as one"),
    (lambda checkpoint: setattr(checkpoint.table, "compression", 1), NEITHER),
    (lambda checkpoint: setattr(checkpoint.table, "magic", 0), "the index is cut short, or none"),
    (lambda checkpoint: checkpoint.text(b"text", b"abc", 2**40), f"variable 'text' holds a text of {2**40} bytes"),
]


@pytest.mark.parametrize(("change", "told"), FAULTS)
def test_fault_is_told(tmp_path: Path, change: Callable[[Checkpoint], object], told: str) -> None:
    checkpoint = Checkpoint()
    change(checkpoint)
    with pytest.raises(UnreadableCheckpointError) as caught:
        judge_checkpoint(checkpoint.write(tmp_path / "ckpt-0"))
    assert str(caught.value) == told


def test_variable_is_not_read_for_its_size_however_little_of_it_is_on_the_disk(tmp_path: Path) -> None:
    checkpoint = Checkpoint()
    size = 2**31
    checkpoint.variables[BIAS].shape, checkpoint.variables[BIAS].size = [size // 4], size
    prefix = checkpoint.write(tmp_path / "ckpt-0")
    os.truncate(tmp_path / f"ckpt-0.{DATA}", 2 * size)
    with pytest.raises(UserError, match="is larger than 256 MB"):
        read_checkpoint(prefix)


def test_more_variables_than_a_detector_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = Checkpoint().write(tmp_path / "ckpt-0")
    monkeypatch.setattr(checkpoint_index, "_MAX_VARIABLES", 4)
    with pytest.raises(UnreadableCheckpointError, match="it has more than 4 variables"):
        judge_checkpoint(prefix)


def test_index_without_end_is_not_read(tmp_path: Path) -> None:
    prefix = Checkpoint().write(tmp_path / "ckpt-0")
    os.truncate(tmp_path / "ckpt-0.index", 2**40)
    for read in (read_checkpoint, fingerprint):
        with pytest.raises(
            UserError, match=r"\(ckpt-0\.index: Has 1099511627776 bytes, and at most 8388608 are read\)"
        ):
            read(prefix)


def test_what_a_folder_of_the_same_name_leads_to_is_not_read(tmp_path: Path) -> None:
    prefix = Checkpoint().write(tmp_path / "ckpt-0")
    other = save(tmp_path / "other", {"elsewhere": np.zeros(3)})
    prefix.mkdir()
    (prefix / "checkpoint").write_text(f'model_checkpoint_path: "{other}"')
    stored = read_checkpoint(prefix)
    assert stored.shapes == SHAPES
    assert stored.read(f"model{SUFFIX}").shape == (2, 3)


def test_types_are_those_of_tensorflow() -> None:
    assert tf.float32.as_datatype_enum == FLOAT
