import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_object_detection.dataset.image_names import FORMS, Match, find_files

FILES = ["a.jpg", "my photo.jpg", "é.png", "sub/b.png", "train/x.jpg", "val/x.jpg", "c+d.jpg", "IMG_0012.JPG"]
ELSEWHERE = "as addresses or paths of another place"
FOLDERS = "with other folders"
FOUND = [
    ("images\\a.jpg", "a.jpg", ["with backslashes", FOLDERS]),
    ("sub\\b.png", "sub/b.png", ["with backslashes"]),
    ("my%20photo.jpg", "my photo.jpg", ["URL-encoded"]),
    ("sub%2Fb.png", "sub/b.png", ["URL-encoded"]),
    ("my+photo.jpg", "my photo.jpg", ["with + for a space"]),
    ("c%2Bd.jpg", "c+d.jpg", ["URL-encoded"]),
    (" a.jpg\t", "a.jpg", ["with spaces around them"]),
    (unicodedata.normalize("NFD", "é.png"), "é.png", ["in another Unicode form"]),
    ("A.JPG", "a.jpg", ["in other capitals"]),
    ("Train/X.jpg", "train/x.jpg", ["in other capitals"]),
    ("a.jpeg", "a.jpg", ["with another suffix of JPEG"]),
    ("a.JPE", "a.jpg", ["with another suffix of JPEG"]),
    ("images/a.jpg", "a.jpg", [FOLDERS]),
    ("b.png", "sub/b.png", [FOLDERS]),
    ("/home/me/data/images/a.jpg", "a.jpg", [ELSEWHERE]),
    ("~/a.jpg", "a.jpg", [ELSEWHERE]),
    ("../images/a.jpg", "a.jpg", [ELSEWHERE]),
    ("C:\\Users\\me\\sub\\b.png", "sub/b.png", [ELSEWHERE, "with backslashes"]),
    ("\\\\server\\share\\a.jpg", "a.jpg", [ELSEWHERE, "with backslashes"]),
    ("s3://bucket/prefix/train/x.jpg", "train/x.jpg", [ELSEWHERE]),
    ("https://bucket.s3.amazonaws.com/my%20photo.jpg?X-Amz-Date=2/3#x", "my photo.jpg", [ELSEWHERE, "URL-encoded"]),
    ("file:///C:/data/a.jpg", "a.jpg", [ELSEWHERE]),
]


@pytest.mark.parametrize(("name", "file", "forms"), FOUND)
def test_a_name_in_another_form_means_the_file_that_it_is_a_form_of(name: str, file: str, forms: list[str]) -> None:
    match = find_files([name], FILES, by_base_name=False)[name]
    assert (list(match.files), match.sure, list(match.forms)) == ([file], True, forms)


@pytest.mark.parametrize(("name", "file", "forms"), FOUND)
def test_a_file_may_be_in_the_other_form_just_as_well(name: str, file: str, forms: list[str]) -> None:
    if "/" not in name and ":" not in name:  # else it is no path below a folder
        match = find_files([file], [name], by_base_name=False)[file]
        assert (list(match.files), match.sure) == ([name], True)


UNSURE = [
    ("s3://bucket/q/x.jpg", ["train/x.jpg", "val/x.jpg"]),  # folders that contradict the files' are no forms of them
    ("other/b.png", ["sub/b.png"]),
    ("a.png", ["a.jpg"]),
    ("IMG_12.jpg", ["IMG_0012.JPG"]),
    ("my_phota.jpg", ["my photo.jpg"]),
    ("IMG_0013.JPG", []),
    ("nothing.jpg", []),
    ("..", []),
    ("", []),
    ("/", []),
    ("sub\\", []),
]


@pytest.mark.parametrize(("name", "guesses"), UNSURE)
def test_a_name_that_means_no_file_has_guesses_at_most(name: str, guesses: list[str]) -> None:
    match = find_files([name], FILES, by_base_name=False)[name]
    assert (list(match.files), match.sure) == (guesses, False)


SEVERAL = [
    ("x.jpg", FILES, ["train/x.jpg", "val/x.jpg"]),
    ("A.jpg", ["a.jpg", "sub/a.jpg"], ["a.jpg"]),  # of another folder, too, would be one difference more
    ("A.jpg", ["one/a.jpg", "two/a.jpg"], ["one/a.jpg", "two/a.jpg"]),
    ("images/a.jpg", ["a.jpg", "A.JPG"], ["a.jpg"]),
    ("a.jpeg", ["a.JPG", "a.jpg"], ["a.JPG", "a.jpg"]),
    ("data/a%20b.jpg", ["a b.jpg", "a+b.jpg"], ["a b.jpg"]),
]


@pytest.mark.parametrize(("name", "files", "candidates"), SEVERAL)
def test_the_fewest_differences_decide_and_a_tie_is_told(name: str, files: list[str], candidates: list[str]) -> None:
    match = find_files([name], files, by_base_name=False)[name]
    assert (list(match.files), match.sure) == (candidates, True)


def test_folders_of_a_bucket_do_not_matter_where_the_base_name_is_the_only_one() -> None:
    found = find_files(["s3://b/q/x.jpg", "s3://b/other/b.png", "s3://b/p/train/x.jpg"], FILES, by_base_name=True)
    assert found["s3://b/q/x.jpg"] == Match(["train/x.jpg", "val/x.jpg"], sure=True)
    assert found["s3://b/other/b.png"] == Match(["sub/b.png"], sure=True, forms=(ELSEWHERE,))
    assert found["s3://b/p/train/x.jpg"].files == ["train/x.jpg"]


PATHS = st.lists(st.text("aA/.\\%20é+ ", min_size=1, max_size=12), max_size=6)


@given(PATHS, PATHS, st.booleans())
def test_what_is_found_is_there_and_has_the_same_end_in_plain_form(
    names: list[str], files: list[str], by_base_name: bool
) -> None:
    def base(path: str) -> str:
        for form in FORMS:
            path = form.plain(path)
        return path.rpartition("/")[2]

    for name, match in find_files(names, files, by_base_name=by_base_name).items():
        assert set(match.files) <= set(files)
        if match.sure:
            assert {base(file) for file in match.files} == {base(name)}


LARGE = {
    "one base name": [f"/home/me/q{number}/rgb.png" for number in range(20_000)],
    "nowhere": [f"no{number}.jpg" for number in range(20_000)],
    "long": ["%20" * 10**6],
}


@pytest.mark.parametrize("case", LARGE)
def test_time_is_in_proportion_to_the_images(case: str) -> None:
    files = [f"s{number}/rgb.png" for number in range(20_000)] + [f"{number:06d}.png" for number in range(20_000)]
    before = time.process_time()
    find_files(LARGE[case], files, by_base_name=False)
    assert time.process_time() - before < 20  # 1 on the machine it was written on; every name with every file takes 100
