"""Properties of ranges; the sentences are in tests/scripts/test_launch_tuning.py."""

import math

from hypothesis import assume, given
from hypothesis import strategies as st

from sagemaker_object_detection.hyperparameters.table import BY_NAME, TunableRange
from sagemaker_object_detection.launch.ranges import read_tuned

ends = st.floats(min_value=0, max_value=1, allow_nan=False)


@given(ends, ends, st.sampled_from(["learning_rate", "beta_1", "momentum", "rho"]))
def test_legal_range_is_taken_as_given_with_a_scaling_it_can_have(low, high, name):
    assume(low < high)
    problems = []
    (tuned,) = read_tuned([f"{name}={low}:{high}"], problems).values()
    assert problems == []
    assert isinstance(tuned, TunableRange)
    assert (float(tuned.low), float(tuned.high)) == (low, high)
    if tuned.scaling == "Logarithmic":
        assert math.isfinite(math.log(low))
    if tuned.scaling == "ReverseLogarithmic":
        assert math.isfinite(math.log(1 - high))


@given(st.text(max_size=30), st.text(max_size=30))
def test_whatever_is_given_is_a_range_or_one_problem(name, text):
    for given_text in (f"{name}={text}", f"learning_rate={text}", f"optimizer={text}", f"pretrained_weights={text}"):
        problems = []
        assert len(read_tuned([given_text], problems)) + len(problems) == 1


def test_the_built_in_algorithms_range_can_be_asked_for():
    problems = []
    learning_rate, optimizer = read_tuned(["learning_rate=built-in", "optimizer = built-in"], problems).values()
    assert learning_rate == TunableRange("1e-6", "0.5", "Logarithmic")
    assert optimizer == BY_NAME["optimizer"].built_in
    assert problems == []


def test_whole_numbers_are_sent_as_the_service_reads_them():
    problems = []
    (tuned,) = read_tuned(["batch_size=8.0:16.0"], problems).values()
    assert (tuned, problems) == (TunableRange("8", "16", "Logarithmic"), [])
