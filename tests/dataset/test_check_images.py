import unicodedata
from pathlib import Path
from typing import Any

import pytest
from made_channels import changed, picture, write_channel

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.dataset.annotation_file import read_annotations
from sagemaker_object_detection.dataset.check_images import check_images
from sagemaker_object_detection.dataset.image_names import files_of_channel
from sagemaker_object_detection.dataset.load import load_splits
from sagemaker_object_detection.dataset.pipeline import evaluation_batches
from sagemaker_object_detection.hyperparameters.read import read


def checked(channel: Path) -> tuple[list[str | None], list[str], list[str]]:
    """The files of the images below the channel, notes and problems."""
    table, unread = read_annotations("training", channel)
    assert table is not None
    assert unread == []
    images, problems = check_images(table)
    files = [None if path is None else str(path.relative_to(channel)) for path in images.paths]
    return files, list(images.notes), [problem.text for problem in problems]


def named(*names: str) -> dict[str, Any]:
    """GOOD with other file names."""
    content = changed("images.0.file_name", names[0])
    content["images"] += [{"file_name": name, "id": 10 + number} for number, name in enumerate(names[1:])]
    return content


def test_files_that_are_called_otherwise_are_taken_and_counted_by_form(tmp_path: Path) -> None:
    content = named("images\\a.jpg", "my%20photo.png", "/home/me/d.png", "/home/me/e.PNG", "s3://bucket/images/f.PNG")
    channel = write_channel(tmp_path / "training", content)
    for name in ("my photo.png", "d.png", "e.png", "f.png"):
        picture(60, 40).save(channel / "images" / name)
    files, notes, problems = checked(channel)
    assert files == [f"images/{name}" for name in ("a.jpg", "b.png", "my photo.png", "d.png", "e.png", "f.png")]
    assert problems == []
    place = "as addresses or paths of another place"
    assert notes == [
        "training: 1 file name is written with backslashes and with other folders, such as 'images\\\\a.jpg' for "
        "'a.jpg'; the files in images/ were taken.",
        "training: 1 file name is written URL-encoded, such as 'my%20photo.png' for 'my photo.png'; the files in "
        "images/ were taken.",
        f"training: 1 file name is written {place}, such as '/home/me/d.png' for 'd.png'; the files in images/ were "
        "taken.",
        f"training: 2 file names are written {place} and in other capitals, such as '/home/me/e.PNG' for 'e.png'; the "
        "files in images/ were taken.",
    ]


ONE_OR_TWO = (unicodedata.normalize("NFC", "é.jpg"), unicodedata.normalize("NFD", "é.jpg"))


@pytest.mark.parametrize(("written", "called"), [ONE_OR_TWO, ONE_OR_TWO[::-1]])
def test_an_image_keeps_its_written_name_and_has_the_pixels_of_its_file(
    tmp_path: Path, written: str, called: str
) -> None:
    channel = write_channel(tmp_path / "training", changed("images.0.file_name", written))
    (channel / "images/a.jpg").rename(channel / "images" / called)
    data = load_splits(channel, None, read({"validation_split_ratio": "0"}), report_folder=tmp_path / "report")
    assert data.training.file_names == (written, "b.png")
    assert "in another Unicode form" in data.report.warnings[0]
    batch = next(iter(evaluation_batches(data.training, catalogue.DEFAULT_MODEL, 2)))
    assert batch.indices.numpy().tolist() == [0, 1]
    assert data.training.path(0).is_file()


def test_two_images_never_share_a_file(tmp_path: Path) -> None:
    content = named("A.jpg", "/data/a.JPG", "B.png")
    assert checked(write_channel(tmp_path / "training", content))[2] == [
        "training images[2] '/data/a.JPG' would be 'a.jpg', which is the file of images[0] 'A.jpg' already. Merge the "
        "two, or add the file that is missing.",
        "training images[3] 'B.png' would be 'b.png', which is the file of images[1] 'b.png' already. Merge the two, "
        "or add the file that is missing.",
    ]


def test_a_name_that_may_be_two_files_is_refused_with_both(tmp_path: Path) -> None:
    channel = write_channel(tmp_path / "training", named("x.jpg", "train/y.jpg"))
    for name in ("one/x.jpg", "two/x.jpg", "val/y.jpg"):
        (channel / "images" / name).parent.mkdir(exist_ok=True)
        picture(64, 48).save(channel / "images" / name)
    assert checked(channel)[2] == [
        f"training images[0] 'x.jpg' may be 'one/x.jpg', 'two/x.jpg' in {channel}/images. Write the path of one of "
        "them below images/.",
        "training images[2] 'train/y.jpg' does not exist. Did you mean 'val/y.jpg'? Add the file or remove its entry.",
    ]


@pytest.mark.parametrize("name", ["x.jpg", "C:\\data\\secret.JPG", "/etc/secret.jpg", "../secret.jpg", "in/secret.jpg"])
def test_no_form_of_a_name_leads_out_of_the_channel(tmp_path: Path, name: str) -> None:
    channel = write_channel(tmp_path / "training", named(name))
    picture(64, 48).save(tmp_path / "secret.jpg")
    (channel / "images/X.jpg").symlink_to(tmp_path / "secret.jpg")
    (channel / "images/in").symlink_to(tmp_path)
    files, _, problems = checked(channel)
    assert files[0] is None
    assert len(problems) == 1


def test_an_address_is_told_from_a_path_however_long_it_is(tmp_path: Path) -> None:
    query = f"?X-Amz-Signature={'0' * 600}"
    channel = write_channel(tmp_path / "training", named(f"https://bucket/a.jpg{query}", "https://bucket/gone.jpg"))
    files, _, problems = checked(channel)
    assert files == ["images/a.jpg", "images/b.png", None]
    assert problems == ["training images[2] 'https://bucket/gone.jpg' is an address. Expected a path below images/."]


@pytest.mark.parametrize("target", ["pictures", "deep/er"])
def test_images_may_be_a_link_within_the_channel(tmp_path: Path, target: str) -> None:
    channel = write_channel(tmp_path / "training", named("A.jpg"))
    (channel / target).parent.mkdir(exist_ok=True)
    (channel / "images").rename(channel / target)
    (channel / "images").symlink_to(target)
    files, _, problems = checked(channel)
    assert (files, problems) == (["images/a.jpg", "images/b.png"], [])


def test_a_channel_that_is_a_link_is_fine(tmp_path: Path) -> None:
    write_channel(tmp_path / "data")
    (tmp_path / "training").symlink_to("data")
    assert checked(tmp_path / "training") == (["images/a.jpg", "images/b.png"], [], [])


def test_images_that_is_a_link_to_nowhere_or_out_of_the_channel_is_one_problem(tmp_path: Path) -> None:
    channel = write_channel(tmp_path / "training")
    (channel / "images").rename(tmp_path / "pictures")
    advice = "Put the folder itself there, with the 2 images of annotations.json."
    (channel / "images").symlink_to(tmp_path / "pictures")
    assert checked(channel)[2] == [
        f"training: {channel}/images is a link to {tmp_path}/pictures, which lies outside of the channel. {advice}"
    ]
    (channel / "images").unlink()
    (channel / "images").symlink_to("../gone")
    assert checked(channel)[2] == [f"training: {channel}/images is a link to ../gone, which is not there. {advice}"]
    (channel / "images").unlink()
    (channel / "images").touch()
    assert checked(channel)[2] == [f"training: {channel}/images is not a folder. {advice}"]


@pytest.mark.parametrize("folder", [".", "Images", "data/train"])
def test_without_images_the_channels_own_folders_are_searched(tmp_path: Path, folder: str) -> None:
    channel = write_channel(tmp_path / "training")
    (channel / folder).mkdir(parents=True, exist_ok=True)
    for name in ("a.jpg", "b.png"):
        (channel / "images" / name).rename(channel / folder / name)
    (channel / "images").rmdir()
    files, notes, problems = checked(channel)
    assert files == [str(Path(folder, name)) for name in ("a.jpg", "b.png")]
    assert problems == []
    assert notes[-1] == f"training: there is no folder images/; the images were taken from {channel}."


def test_a_link_that_leads_nowhere_is_called_so(tmp_path: Path) -> None:
    channel = write_channel(tmp_path / "training")
    (channel / "images/a.jpg").unlink()
    (channel / "images/a.jpg").symlink_to("gone.jpg")
    assert checked(channel)[2] == [
        "training images[0] 'a.jpg' does not exist. It is a link that leads nowhere: mend it."
    ]


def test_a_folder_is_listed_once(tmp_path: Path, monkeypatch: Any) -> None:
    listed: list[Path] = []

    def listing(folder: Path) -> list[str]:
        listed.append(folder)
        return files_of_channel(folder)

    monkeypatch.setattr("sagemaker_object_detection.dataset.check_images.files_of_channel", listing)
    channel = write_channel(tmp_path / "training", named("A.jpg"))
    assert checked(channel)[0] == ["images/a.jpg", "images/b.png"]
    assert listed == [channel / "images"]


def test_images_that_nobody_lists_are_counted(tmp_path: Path) -> None:
    channel = write_channel(tmp_path / "training")
    (channel / "images/more").mkdir()
    for name in ("c.JPG", "more/d.png"):
        (channel / "images" / name).write_bytes((channel / "images/b.png").read_bytes())
    for name in (".e.jpg", "notes.txt"):
        (channel / "images" / name).write_text("no image")
    (channel / "images/a.jpg").write_bytes(b"damaged, and listed")
    _, notes, problems = checked(channel)
    assert notes == ["training: 2 images in images/ are not in annotations.json and not used ('c.JPG', 'more/d.png')."]
    assert len(problems) == 1
