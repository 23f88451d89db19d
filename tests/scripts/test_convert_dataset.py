"""The program around the conversions: its arguments, its help, and the commands that its page shows."""

import re
import shlex
import subprocess
import sys

import pytest
from written_sets import PROGRAM, ROOT, WRITERS, expected, read_back, write_voc

FORMATS = (*WRITERS, "tfrecord")


def commands(text):
    """The arguments of every call of the program in a text."""
    return [shlex.split(call) for call in re.findall(rf"convert_dataset\.py ((?:{'|'.join(FORMATS)}) .+)", text)]


@pytest.mark.parametrize("place", ["src/sagemaker_object_detection/convert/README.md", "scripts/convert_dataset.py"])
def test_there_is_a_command_of_every_format_that_the_program_takes(place):
    calls = commands((ROOT / place).read_text(encoding="utf-8"))
    assert tuple(call[0] for call in calls) == FORMATS
    for call in calls:
        options = PROGRAM._parser().parse_args(call)
        assert str(options.to).endswith("job/input/data/training")
        assert (options.copy, options.invalid_boxes) == (False, "error")


def test_help_names_every_format_and_each_formats_help_every_option(capsys):
    with pytest.raises(SystemExit) as ended:
        PROGRAM.main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for name in FORMATS:
        assert re.search(rf"^    {name}\s+\S", said, re.MULTILINE)
    own = {
        "coco": ["--images"],
        "voc": [
            "--annotations",
            "--images",
            "--split",
            "--names",
            "--drop-difficult",
            "--ignore-difficult",
            "--image-by",
        ],
        "yolo": ["--split", "--images", "--list", "--labels", "--names", "--names-file"],
        "ground-truth": ["--images", "--label-attribute"],
        "labelme": ["--images", "--names", "--image-by"],
        "label-studio": ["--images", "--names"],
        "csv": ["--images", "--names", "--split"],
        "tfrecord": ["--label-map", "--names"],
    }
    for name, options in own.items():
        with pytest.raises(SystemExit):
            PROGRAM.main([name, "--help"])
        said = capsys.readouterr().out
        found = re.findall(r"^  (--[\w-]+)", said, re.MULTILINE)
        shared = ["--to", "--copy", "--invalid-boxes", "--polygons", *(["--bbox-format"] * (name != "ground-truth"))]
        assert sorted(found) == sorted([*options, *shared])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "the following arguments are required: FORMAT"),
        (["createml"], "argument FORMAT: invalid choice: 'createml'"),
        (["coco", "a.json", "--images", "b"], "the following arguments are required: --to"),
        (["coco", "a.json", "--to", "b"], "the following arguments are required: --images"),
        (["yolo", "a", "--to", "b", "--label", "c"], "unrecognized arguments: --label c"),
        (["yolo", "a", "--to", "b", "--names", "c", "--names-file", "d"], "not allowed with argument --names"),
        (["yolo", "a", "--to", "b", "--split", "c", "--images", "d"], "not allowed with argument --split"),
        (["voc", "a", "--to", "b", "--invalid-boxes", "keep"], "argument --invalid-boxes: invalid choice: 'keep'"),
    ],
)
def test_wrong_arguments_are_refused_with_exit_code_2(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        PROGRAM.main(arguments)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_it_runs_as_a_program_of_its_own_and_says_what_is_wrong_on_stderr(tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, ROOT / "scripts/convert_dataset.py", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    arguments = write_voc(tmp_path / "source")
    done = run(*arguments, "--to", tmp_path / "new")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{tmp_path}/new: 3 images, 3 boxes\n")
    assert read_back(tmp_path / "new") == expected()

    (tmp_path / "source/Annotations/a.xml").write_text("")
    (tmp_path / "source/JPEGImages/sub/b.png").unlink()
    done = run(*arguments, "--to", tmp_path / "other")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "DataError: 2 problems:\n"
        f"1. {tmp_path}/source/Annotations/a.xml line 1, column 1: is not XML (no element found). Expected an XML file "
        "of Pascal VOC: correct it or remove it.\n"
        f"2. {tmp_path}/source/Annotations/sub/b.xml: {tmp_path}/source/JPEGImages/sub/b.png does not exist. Add the "
        "file or remove its entry.\n"
    )
    assert not (tmp_path / "other").exists()
