"""The queue before the model: batches, turns, patience, and one bad image among good ones. No TensorFlow is needed."""

import threading
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from sagemaker_object_detection.artifact.inference import RequestError
from sagemaker_object_detection.images.walk import MAX_PIXELS
from sagemaker_object_detection.serving import queue as module
from sagemaker_object_detection.serving.queue import BatchQueue, DamagedImageError, NoRoomError

LONG = 20.0
"""Seconds to wait for what comes at once, before a test fails."""


class HeldModel:
    """Answers with the image's contents, and only when told to go on."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)

    def __call__(self, images: Sequence[bytes]) -> list[dict[str, object]]:
        self.batches.append(list(images))
        self.begun.release()
        assert self.go_on.acquire(timeout=LONG)
        if b"damaged" in images:
            raise DamagedImageError
        if b"enormous" in images or images == [b"two", b"three"]:
            raise NoRoomError
        if b"hopeless" in images:
            raise ValueError("a fault\nof many lines")
        return [{"contents": image} for image in images]


@pytest.fixture
def model():
    return HeldModel()


@pytest.fixture
def queue(model):
    made = BatchQueue(batch_size=3)
    yield made
    for _ in range(20):
        model.go_on.release()
    assert made.close(LONG)


def wait_for_batch(model):
    assert model.begun.acquire(timeout=LONG)


def answers(futures):
    return [future.result(timeout=LONG)["contents"] for future in futures]


def test_one_image_does_not_wait_for_others(queue, model):
    future = queue.put(model, b"a", 1)
    model.go_on.release()
    assert answers([future]) == [b"a"]


def test_what_came_during_a_batch_is_the_next_batch_in_its_order(queue, model):
    futures = [queue.put(model, b"first", 1)]
    wait_for_batch(model)
    futures += [queue.put(model, bytes([65 + number]), 1) for number in range(5)]
    for _ in range(3):
        model.go_on.release()
    assert answers(futures) == [b"first", b"A", b"B", b"C", b"D", b"E"]
    assert model.batches == [[b"first"], [b"A", b"B", b"C"], [b"D", b"E"]]


def test_a_batch_is_of_one_model_and_all_keep_their_turns(queue, model):
    other = HeldModel()
    queue.put(model, b"first", 1)
    wait_for_batch(model)
    turns = [(model, b"a"), (other, b"b"), (model, b"c"), (other, b"d"), (model, b"e"), (model, b"f")]
    futures = [queue.put(which, contents, 1) for which, contents in turns]
    for _ in range(3):
        model.go_on.release()
    other.go_on.release()
    assert answers(futures) == [contents for _, contents in turns]
    assert model.batches == [[b"first"], [b"a", b"c", b"e"], [b"f"]]
    assert other.batches == [[b"b", b"d"]]


def test_the_pixels_of_a_batch_are_bounded_and_any_image_has_a_turn(queue, model):
    queue.put(model, b"first", 1)
    wait_for_batch(model)
    futures = [queue.put(model, b"large", MAX_PIXELS), queue.put(model, b"small", 1), queue.put(model, b"tiny", 1)]
    for _ in range(4):
        model.go_on.release()
    answers(futures)
    assert model.batches == [[b"first"], [b"large"], [b"small", b"tiny"]]


def test_an_image_that_cannot_be_decoded_takes_no_other_with_it(queue, model):
    queue.put(model, b"first", 1)
    wait_for_batch(model)
    good, bad, other = (queue.put(model, contents, 1) for contents in (b"good", b"damaged", b"other"))
    for _ in range(5):
        model.go_on.release()
    assert answers([good, other]) == [b"good", b"other"]
    with pytest.raises(RequestError, match="cannot be decoded") as caught:
        bad.result(timeout=LONG)
    assert caught.value.status == 400


def test_a_batch_too_large_for_memory_is_answered_image_by_image(queue, model):
    queue.put(model, b"first", 1)
    wait_for_batch(model)
    two, three = (queue.put(model, contents, 1) for contents in (b"two", b"three"))
    for _ in range(4):
        model.go_on.release()
    assert answers([two, three]) == [b"two", b"three"]
    model.go_on.release()
    with pytest.raises(RequestError, match="memory has no room to decode the image") as caught:
        queue.put(model, b"enormous", 1).result(timeout=LONG)
    assert caught.value.status == 503


def test_a_fault_of_the_model_is_told_and_the_next_image_is_answered(queue, model, caplog):
    model.go_on.release()
    with pytest.raises(RequestError, match=r"the model failed on this image \(ValueError: a fault\)$") as caught:
        queue.put(model, b"hopeless", 1).result(timeout=LONG)
    assert caught.value.status == 500
    model.go_on.release()
    assert answers([queue.put(model, b"next", 1)]) == [b"next"]
    assert queue.healthy


def test_too_many_are_turned_away_and_the_others_are_answered(queue, model, monkeypatch):
    monkeypatch.setattr(module, "MAX_WAITING", 4)
    futures = [queue.put(model, b"under way", 1)]
    wait_for_batch(model)
    futures += [queue.put(model, b"waits", 1) for _ in range(4)]
    with pytest.raises(RequestError, match="busy: 4 images wait already") as caught:
        queue.put(model, b"too many", 1)
    assert caught.value.status == 503
    for _ in range(3):
        model.go_on.release()
    assert len(answers(futures)) == 5
    model.go_on.release()
    assert answers([queue.put(model, b"again", 1)]) == [b"again"]


@pytest.fixture
def aged(model, monkeypatch):
    """A queue whose clock a test sets."""
    now = [0.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    made = BatchQueue(batch_size=3)
    yield made, now
    for _ in range(20):
        model.go_on.release()
    assert made.close(LONG)


def test_who_has_waited_too_long_is_told_so_and_not_computed(aged, model):
    queue, now = aged
    queue.put(model, b"under way", 1)
    wait_for_batch(model)
    old = queue.put(model, b"old", 1)
    now[0] = 1.0
    young = queue.put(model, b"young", 1)
    now[0] = module.PATIENCE + 1
    model.go_on.release()
    model.go_on.release()
    with pytest.raises(RequestError, match="waited for more than 55 seconds") as caught:
        old.result(timeout=LONG)
    assert caught.value.status == 503
    assert answers([young]) == [b"young"]
    assert model.batches == [[b"under way"], [b"young"]]


def test_when_the_server_stops_turns_that_come_too_late_are_refused(aged, model):
    queue, now = aged
    queue.put(model, b"under way", 1)
    wait_for_batch(model)
    queue.stop_within(15)
    waiting = queue.put(model, b"waiting", 1)
    now[0] = 15.1
    model.go_on.release()
    with pytest.raises(RequestError, match="the server is stopping") as caught:
        waiting.result(timeout=LONG)
    assert caught.value.status == 503
    assert model.batches == [[b"under way"]]


def test_a_batch_that_never_ends_is_not_healthy(aged, model):
    queue, now = aged
    assert queue.healthy
    future = queue.put(model, b"slow", 1)
    wait_for_batch(model)
    now[0] = module.STUCK - 1
    assert queue.healthy
    now[0] = module.STUCK
    assert not queue.healthy
    model.go_on.release()
    answers([future])


def test_what_is_cancelled_is_not_computed(queue, model):
    queue.put(model, b"under way", 1)
    wait_for_batch(model)
    first, gone, last = (queue.put(model, contents, 1) for contents in (b"first", b"gone", b"last"))
    assert gone.cancel()
    model.go_on.release()
    model.go_on.release()
    assert answers([first, last]) == [b"first", b"last"]
    assert model.batches == [[b"under way"], [b"first", b"last"]]


def test_closing_answers_what_waits(model):
    queue = BatchQueue(batch_size=1)
    futures = [queue.put(model, bytes([number]), 1) for number in range(3)]
    for _ in range(3):
        model.go_on.release()
    assert queue.close(LONG)
    assert answers(futures) == [b"\x00", b"\x01", b"\x02"]
    assert not queue.healthy


def test_closing_does_not_wait_for_a_batch_that_never_ends(model):
    queue = BatchQueue(batch_size=1)
    future = queue.put(model, b"slow", 1)
    wait_for_batch(model)
    assert not queue.close(0.01)
    model.go_on.release()
    assert answers([future]) == [b"slow"]
