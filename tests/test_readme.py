"""What the README shows is what the code says."""

from pathlib import Path

from sagemaker_object_detection.catalogue import CATALOGUE
from sagemaker_object_detection.describe import describe_markdown

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_tables_are_those_of_describe():
    begin, end = "<!-- describe: begin -->\n", "<!-- describe: end -->"
    assert README.split(begin)[1].split(end)[0] == describe_markdown()


def test_it_lists_every_base_model():
    for base in CATALOGUE:
        assert f"| `{base.name}` | {base.input_size} | {base.default_epochs} |" in README


def test_its_commands_are_there_and_can_be_run():
    for command in ("scripts/demo.sh", "scripts/test.sh", "scripts/lock.sh", ".ci/run", "container/train"):
        path = ROOT / command
        assert path.stat().st_mode & 0o111, command
    for command in ("scripts/demo.sh", "scripts/test.sh"):
        assert f"```sh\n{command}\n```" in README
    assert "scripts/test.sh" in (ROOT / ".ci/run").read_text(encoding="utf-8")
