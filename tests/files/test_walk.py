"""Walking folders whose links lead back, out, and everywhere."""

import errno
from pathlib import Path

from sagemaker_object_detection.files.walk import _MAX_WAYS, files_below


def test_links_without_end_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").touch()
    for name, target in (("root", "/"), ("self", "."), ("above", "..")):
        (tmp_path / "a" / name).symlink_to(target)
    (tmp_path / "c").symlink_to("a/b")
    assert list(files_below(tmp_path, _no_error)) == ["a/b/file", "c/file"]


def test_folders_that_link_to_all_others_are_listed_on_a_few_ways(tmp_path: Path) -> None:
    """Ten of them have ten million ways between them."""
    names = [f"f{number}" for number in range(10)]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
        for other in names:
            (tmp_path / name / f"to {other}").symlink_to(f"../{other}")
    errors: list[OSError] = []
    found = list(files_below(tmp_path, errors.append))
    assert len(found) <= 10 * _MAX_WAYS
    assert {f"{name}/file" for name in names} <= {*found}
    assert {error.errno for error in errors} == {errno.ELOOP}


def _no_error(error: OSError) -> None:
    raise error
