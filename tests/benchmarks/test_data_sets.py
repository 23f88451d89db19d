"""The first data sets of each row of the table that `data_sets.py` prints."""

import pytest
from data_sets import DATA_SETS, reduced
from made_data_sets import INNOCENT, judge, write_sample

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("data sets") / "sample")


@pytest.mark.parametrize("data_set", reduced(), ids=lambda each: f"{each.row}: {each.name}")
def test_no_fault_passes_without_a_word_and_no_innocent_set_is_refused(data_set, sample, tmp_path):
    verdict = judge(data_set, sample, tmp_path / "job")
    assert verdict.is_right, verdict.sentence


def test_the_table_is_long_and_has_innocent_sets_for_what_is_refused():
    innocent = sum(each.expected == INNOCENT for each in DATA_SETS)
    assert len(DATA_SETS) >= 60
    assert innocent >= 20
    assert len({(each.row, each.name) for each in DATA_SETS}) == len(DATA_SETS)
