"""A machine that cannot run a job is found with the job's own mistakes, and blamed only where there are none."""

import pytest
from conftest import write_job

from sagemaker_object_detection import check as check_module
from sagemaker_object_detection import preflight as preflight_module
from sagemaker_object_detection.errors import PlatformError
from sagemaker_object_detection.job.config import read_job
from sagemaker_object_detection.job.paths import Paths
from sagemaker_object_detection.preflight import examine, preflight

TOO_OLD = "the machine's NVIDIA driver is too old"


@pytest.fixture
def root(sample_root, tmp_path):
    (tmp_path / "input").mkdir()
    (tmp_path / "input/data").symlink_to(sample_root / "input/data")
    write_job(tmp_path, {"pretrained_weights": "none"})
    return tmp_path


@pytest.fixture
def old_driver(monkeypatch):
    for module in (preflight_module, check_module):
        monkeypatch.setattr(module, "find_driver_problem", lambda: TOO_OLD)


def test_a_job_that_is_right_on_a_machine_that_is_right_has_no_problems(root, monkeypatch):
    monkeypatch.setattr(preflight_module, "find_driver_problem", lambda: None)
    assert preflight(read_job(Paths(root))) == examine(read_job(Paths(root)))
    assert preflight(read_job(Paths(root))).problems == ()


@pytest.mark.usefixtures("old_driver")
def test_where_only_the_machine_is_at_fault_it_is_blamed(root):
    with pytest.raises(PlatformError) as caught:
        preflight(read_job(Paths(root)))
    assert caught.value.problems == (TOO_OLD,)
    assert examine(read_job(Paths(root))).problems == ()


@pytest.mark.usefixtures("old_driver")
def test_the_jobs_own_problems_come_before_the_machines(root):
    write_job(root, {"pretrained_weights": "none", "epochs": "many"})
    (own,) = examine(read_job(Paths(root))).problems
    assert preflight(read_job(Paths(root))).problems == (own, TOO_OLD)


@pytest.mark.usefixtures("old_driver")
def test_check_notes_what_the_job_would_end_with_on_this_machine(tmp_path):
    write_job(tmp_path, {"pretrained_weights": "none"})
    result = check_module.check(Paths(tmp_path))
    assert f"on this machine the job would end with exit code 3: {TOO_OLD}" in result.notes
    assert TOO_OLD not in str(result.problems)
