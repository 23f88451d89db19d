import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from made_channels import training_stream
from PIL import Image

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.dataset.annotations import Dataset, IgnoredRegions, Labels
from sagemaker_object_detection.dataset.pipeline import (
    Batch,
    Order,
    _row_counts,
    evaluation_batches,
)
from sagemaker_object_detection.images.network_input import to_network_input

BASE = dataclasses.replace(catalogue.DEFAULT_MODEL, input_size=32)
PADDED = dataclasses.replace(next(base for base in catalogue.CATALOGUE if base.family.keep_aspect_ratio), input_size=32)
both = pytest.mark.parametrize("base", [BASE, PADDED], ids=["stretched", "padded"])
BOX_COUNTS = (1, 0, 3, 2, 1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Five images; image i is of grey level 40 * i and has BOX_COUNTS[i] boxes of class i % 2."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(5):
        Image.new("L", (40 + number, 30), 40 * number).save(folder / f"{number}.png")
    boxes = np.array([[0.1, 0.2, 0.5 + 0.01 * row, 0.9] for row in range(sum(BOX_COUNTS))], np.float32)
    return Dataset(
        images=folder,
        file_names=tuple(f"{number}.png" for number in range(5)),
        sizes=np.array([[30, 40], [30, 41], [42, 30], [30, 43], [30, 44]], np.int32),
        orientations=np.array([1, 1, 6, 1, 1], np.uint8),
        offsets=np.concatenate([[0], np.cumsum(BOX_COUNTS)]).astype(np.int64),
        boxes=boxes,
        classes=np.repeat(np.arange(5) % 2, BOX_COUNTS).astype(np.int32),
        labels=Labels((1, 2), ("a", "b")),
        fingerprint="",
    )


def only(dataset: Dataset, count: int) -> Dataset:
    boxes = dataset.offsets[count]
    return dataclasses.replace(
        dataset,
        file_names=dataset.file_names[:count],
        sizes=dataset.sizes[:count],
        orientations=dataset.orientations[:count],
        offsets=dataset.offsets[: count + 1],
        boxes=dataset.boxes[:boxes],
        classes=dataset.classes[:boxes],
    )


def take(batches: tf.data.Dataset, count: int) -> list[Batch]:
    return list(batches.take(count).as_numpy_iterator())


@both
def test_shapes_are_static_but_for_the_rows_of_ground_truth_and_pixels_are_bytes(
    dataset: Dataset, base: catalogue.BaseModel
) -> None:
    expected = Batch(
        images=tf.TensorSpec([3, 32, 32, 3], tf.uint8),
        true_shapes=tf.TensorSpec([3, 3], tf.int32),
        boxes=tf.TensorSpec([3, None, 4], tf.float32),
        classes=tf.TensorSpec([3, None], tf.int64),
        box_weights=tf.TensorSpec([3, None], tf.float32),
        regions=tf.TensorSpec([3, 0, 4], tf.float32),
        image_weights=tf.TensorSpec([3], tf.float32),
        indices=tf.TensorSpec([3], tf.int64),
    )
    assert training_stream(dataset, base, 3, seed=0, augment=True).element_spec == expected
    assert training_stream(dataset, base, 3, seed=0, augment=False).element_spec == expected
    exact = expected._replace(images=tf.TensorSpec([3, 32, 32, 3], tf.float32))
    assert evaluation_batches(dataset, base, 3).element_spec == exact
    batch = next(iter(training_stream(dataset, base, 3, seed=0, augment=True)))
    assert batch.spec == expected


def test_evaluation_sees_every_image_once_in_order_and_fills_up_with_weight_zero(dataset: Dataset) -> None:
    batches = list(evaluation_batches(dataset, BASE, 3).as_numpy_iterator())
    assert [batch.indices.tolist() for batch in batches] == [[0, 1, 2], [3, 4, -1]]
    assert [batch.image_weights.tolist() for batch in batches] == [[1, 1, 1], [1, 1, 0]]
    np.testing.assert_allclose(batches[1].images[0], 120 * 2 / 255 - 1, atol=1e-6)
    assert not batches[1].images[2].any()
    assert batches[0].box_weights.tolist() == [[1, 0, 0], [0, 0, 0], [1, 1, 1]]
    np.testing.assert_array_equal(batches[0].boxes[2], dataset.boxes[1:4])
    assert not batches[0].boxes[0, 1:].any()
    assert batches[1].classes.tolist() == [[1, 1], [0, 0], [0, 0]]
    assert batches[1].box_weights[2].tolist() == [0, 0]
    assert batches[0].true_shapes.tolist() == [[32, 32, 3]] * 3


@both
def test_evaluation_images_are_the_references_to_the_last_bit(
    base: catalogue.BaseModel, tmp_path: Path, dataset: Dataset
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "0.png")
    (batch,) = evaluation_batches(dataclasses.replace(only(dataset, 1), images=tmp_path), base, 1)
    np.testing.assert_array_equal(batch.images[0], to_network_input(tf.constant(noise), base)[0])


def test_shares_of_a_batch_are_the_batch_and_filled_up_with_weight_zero(dataset: Dataset) -> None:
    whole, first, second = (
        take(training_stream(dataset, BASE, 5, seed=2, augment=True, first_step=1, share=share), 1)[0]
        for share in (None, (0, 3), (3, 6))
    )
    rows = whole.boxes.shape[1]
    for name, column in whole._asdict().items():
        shares = [getattr(share, name) for share in (first, second)]
        if name in ("boxes", "classes", "box_weights"):
            shares = [np.pad(x, [(0, 0), (0, rows - x.shape[1])] + [(0, 0)] * (x.ndim - 2)) for x in shares]
        np.testing.assert_array_equal(np.concatenate(shares)[:5], column, err_msg=name)
    assert (second.indices[2], second.image_weights[2]) == (-1, 0)
    assert len(np.unique(second.images[2])) == 1
    assert not second.box_weights[2].any()


def test_boxes_of_padded_images_are_normalised_to_the_network_input(dataset: Dataset) -> None:
    # Displayed heights and widths: 30 x 40, 30 x 41, 42 x 30 (turned), 30 x 43, 30 x 44.
    shapes = [[24, 32, 3], [23, 32, 3], [32, 23, 3], [22, 32, 3], [22, 32, 3]]
    batches = list(evaluation_batches(dataset, PADDED, 3).as_numpy_iterator())
    # An image that fills up counts as a whole one: its size divides safely.
    assert [shape for batch in batches for shape in batch.true_shapes.tolist()] == [*shapes, [32, 32, 3]]
    training = take(training_stream(dataset, PADDED, 5, seed=1, augment=False), 1)
    for batch in batches + training:
        for row, index in enumerate(batch.indices):
            count = BOX_COUNTS[index] if index >= 0 else 0
            height, width = batch.true_shapes[row, :2]
            original = dataset.boxes[dataset.offsets[index] :][:count] if count else np.zeros((0, 4), np.float32)
            expected = original * np.array([height, width, height, width], np.float32) / 32
            np.testing.assert_allclose(batch.boxes[row, :count], expected, rtol=1e-6)
            assert not batch.boxes[row, count:].any()
            assert not batch.images[row, height:].any()
            assert not batch.images[row, :, width:].any()
            if index > 0:  # the first image's pixels are 0
                assert batch.images[row, height - 1, width - 1].all()


def test_padded_models_train_on_scaled_and_cropped_images(dataset: Dataset) -> None:
    (batch,) = take(training_stream(only(dataset, 1), PADDED, 16, seed=0, augment=True), 1)
    assert batch.true_shapes.tolist() == [[32, 32, 3]] * 16
    areas = np.prod(batch.boxes[:, 0, 2:] - batch.boxes[:, 0, :2], axis=1)
    # Of an image 0.1 to 2 times as large as the input; the stretched models' crops give a third at most.
    assert areas.min() < 0.05
    assert areas.max() > 0.3
    assert batch.boxes.min() >= 0
    assert batch.boxes.max() <= 1


def test_a_batch_is_divided_among_devices_in_order(dataset: Dataset) -> None:
    (whole,) = take(training_stream(dataset, BASE, 4, seed=2, augment=True, share=(0, 6)), 1)
    parts = take(training_stream(dataset, BASE, 4, seed=2, augment=True, share=(0, 6), parts=3), 3)
    assert [len(part.indices) for part in parts] == [2, 2, 2]
    np.testing.assert_array_equal(np.concatenate([part.images for part in parts]), whole.images)
    assert np.concatenate([part.image_weights for part in parts]).tolist() == [1, 1, 1, 1, 0, 0]


def test_rows_of_ground_truth_are_as_many_as_the_fullest_image_needs(dataset: Dataset) -> None:
    counts = []
    for batch in evaluation_batches(dataset, BASE, 1).as_numpy_iterator():
        present = int(batch.box_weights.sum())
        assert batch.boxes.shape[1] == batch.classes.shape[1] == batch.box_weights.shape[1] == max(1, present)
        counts.append(present)
    assert counts == list(BOX_COUNTS)


def test_there_are_few_numbers_of_rows_and_none_is_much_too_large() -> None:
    assert _row_counts(1) == [1]
    assert _row_counts(20) == [1, 2, 3, 4, 6, 8, 12, 16, 20]
    for most in (1, 2, 3, 5, 100, 1000):
        counts = _row_counts(most)
        assert counts[-1] == most
        assert len(counts) <= 2 * most.bit_length() + 1
        assert all(min(count for count in counts if count >= wanted) <= 1.5 * wanted for wanted in range(1, most + 1))


def with_regions(dataset: Dataset) -> Dataset:
    """Image 1, which has no box, with two regions to ignore, and image 3 with one: its second box once more."""
    rows = np.array([[0.0, 0.25, 0.5, 0.75], [0.5, 0.0, 1.0, 0.5], dataset.boxes[5]], np.float32)
    ignored = IgnoredRegions(np.array([0, 0, 2, 2, 3, 3]), rows, np.array([1, 0, 0], np.int32))
    return dataclasses.replace(dataset, ignored=ignored)


@both
def test_regions_to_ignore_come_beside_the_boxes_and_change_nothing_else(
    dataset: Dataset, base: catalogue.BaseModel
) -> None:
    regions = with_regions(dataset)
    plain, found = (list(evaluation_batches(each, base, 5).as_numpy_iterator()) for each in (dataset, regions))
    assert [batch.regions.shape for batch in plain + found] == [(5, 0, 4), (5, 2, 4)]
    for name, column in found[0]._asdict().items():
        if name != "regions":
            np.testing.assert_array_equal(column, getattr(plain[0], name), err_msg=name)
    height, width = found[0].true_shapes[1, :2] / 32
    scaled = regions.ignored.boxes[:2] * [height, width, height, width]
    np.testing.assert_allclose(found[0].regions[1], scaled, rtol=1e-6)
    np.testing.assert_array_equal(found[0].regions[3], [found[0].boxes[3, 1], [0, 0, 0, 0]])
    assert not found[0].regions[[0, 2, 4]].any()


@both
def test_regions_to_ignore_move_as_boxes_do(dataset: Dataset, base: catalogue.BaseModel) -> None:
    plain = take(training_stream(dataset, base, 4, seed=1, augment=True), 8)
    found = take(training_stream(with_regions(dataset), base, 4, seed=1, augment=True), 8)
    seen = 0
    for before, batch in zip(plain, found, strict=True):
        np.testing.assert_array_equal(batch.images, before.images)
        np.testing.assert_array_equal(batch.boxes, before.boxes)
        for row, index in enumerate(batch.indices):
            if index == 3 and batch.box_weights[row].sum() == 2:
                np.testing.assert_array_equal(batch.regions[row, 0], batch.boxes[row, 1])
                seen += 1
            elif index not in (1, 3):
                assert not batch.regions[row].any()
    assert seen > 1


def test_rows_of_regions_are_as_many_as_the_fullest_image_needs(dataset: Dataset) -> None:
    batches = list(evaluation_batches(with_regions(dataset), BASE, 1))
    assert [batch.regions.shape[1] for batch in batches] == [1, 2, 1, 1, 1]
    assert {str(batch.spec.regions.shape) for batch in batches} == {"(1, None, 4)"}


def test_evaluation_that_divides_is_not_filled_up(dataset: Dataset) -> None:
    batches = list(evaluation_batches(only(dataset, 4), BASE, 2).as_numpy_iterator())
    assert [batch.indices.tolist() for batch in batches] == [[0, 1], [2, 3]]


@both
@pytest.mark.parametrize("augment", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_starting_later_gives_the_batches_of_the_uninterrupted_stream(
    dataset: Dataset, augment: bool, base: catalogue.BaseModel
) -> None:
    whole = take(training_stream(dataset, base, 3, seed=4, augment=augment), 12)
    for first in (1, 5, 10):
        resumed = take(training_stream(dataset, base, 3, seed=4, augment=augment, first_step=first), 2)
        for expected, batch in zip(whole[first:], resumed, strict=False):
            for name, column in batch._asdict().items():
                np.testing.assert_array_equal(column, getattr(expected, name), err_msg=name)


def test_an_epoch_is_a_permutation_and_epochs_differ(dataset: Dataset) -> None:
    batches = take(training_stream(dataset, BASE, 3, seed=0, augment=False), 20)
    epochs = np.concatenate([batch.indices for batch in batches]).reshape(12, 5)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(5), (12, 1)))
    assert len({tuple(epoch) for epoch in epochs}) > 6


def test_the_order_foretells_the_stream(dataset: Dataset) -> None:
    for step, batch in enumerate(take(training_stream(dataset, BASE, 4, seed=9, augment=True), 6)):
        np.testing.assert_array_equal(batch.indices, Order(5, 4, 9).batch(step))
        for row, index in enumerate(batch.indices):
            assert batch.box_weights[row].sum() <= BOX_COUNTS[index]


def test_permutations_are_drawn_equally_often() -> None:
    orders = [tuple(Order(3, 3, 0).batch(step)) for step in range(300)]
    counts = [orders.count(order) for order in set(orders)]
    # 50 each expected, standard deviation 6.5.
    assert len(counts) == 6
    assert min(counts) > 25
    assert max(counts) < 75


def test_a_batch_larger_than_the_data_wraps_around(dataset: Dataset) -> None:
    for batch in take(training_stream(only(dataset, 1), BASE, 8, seed=0, augment=True, first_step=3), 2):
        assert batch.indices.tolist() == [0] * 8
        assert batch.image_weights.tolist() == [1] * 8
    batch = take(training_stream(only(dataset, 3), BASE, 8, seed=0, augment=False), 1)[0]
    assert np.bincount(batch.indices).tolist() in ([3, 3, 2], [3, 2, 3], [2, 3, 3])


def test_the_same_image_is_augmented_anew_in_every_epoch(dataset: Dataset) -> None:
    batches = take(training_stream(only(dataset, 1), BASE, 4, seed=0, augment=True), 1)
    assert len({row.tobytes() for row in batches[0].boxes}) == 4
    fixed = take(training_stream(only(dataset, 1), BASE, 4, seed=0, augment=False), 1)
    assert {row.tobytes() for row in fixed[0].boxes} == {dataset.boxes[:1].tobytes()}


def test_another_seed_gives_another_order(dataset: Dataset) -> None:
    orders = {tuple(Order(5, 5, seed).batch(0)) for seed in (0, 1, 2, 3, 2**40)}
    assert len(orders) > 2


def test_nothing_runs_python_in_the_graph(dataset: Dataset) -> None:
    batches = training_stream(dataset, BASE, 3, seed=0, augment=True)
    graph = batches._as_serialized_graph().numpy()
    assert b"DecodeJpeg" in graph
    assert b"PyFunc" not in graph
    assert batches.options().deterministic


def test_exif_turns_are_applied(tmp_path: Path, dataset: Dataset) -> None:
    # Left half black, right half white; turned by a quarter clockwise (orientation 6), the upper half is black.
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[:, 10:] = 255
    Image.fromarray(pixels).save(tmp_path / "0.png")
    turned = dataclasses.replace(
        only(dataset, 1),
        images=tmp_path,
        sizes=np.array([[20, 20]], np.int32),
        orientations=np.array([6], np.uint8),
    )
    (batch,) = take(evaluation_batches(turned, BASE, 1), 1)
    assert batch.images[0, 4].max() == -1
    assert batch.images[0, 28].min() == 1
