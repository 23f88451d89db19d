"""The commands for boto3 in scripts/README.md are ones that the programs take, and that need boto3 alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from launch_programs import PROGRAMS, SCRIPTS
from markdown_pages import below, blocks
from markdown_pages import commands as commands_of


def commands() -> list[tuple[str, list[str]]]:
    """The arguments of each program in the page's block for boto3, with an account and a region, as a reader does."""
    (block,) = blocks(below((SCRIPTS / "README.md").read_text(encoding="utf-8"), "boto3"), "sh")
    written = commands_of(block.replace("ACCOUNT", "123456789012").replace("REGION", "eu-west-1"))
    return [(Path(words[1]).stem, words[2:]) for words in written]


@pytest.mark.parametrize(("name", "arguments"), commands(), ids=[name for name, _ in commands()])
def test_each_command_of_the_page_makes_a_request(name, arguments, capsys):
    assert PROGRAMS[name].main([*arguments, "--dry-run"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)
    assert all(line.startswith("note: ") for line in said.err.splitlines())


def test_the_page_shows_every_program():
    assert [name for name, _ in commands()] == list(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_imports_nothing_heavy(name):
    code = (
        f"import atexit, runpy, sys; sys.argv[1:] = ['--help']; atexit.register(lambda: print(*sys.modules)); "
        f"runpy.run_path({str(SCRIPTS / name)!r} + '.py', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--dry-run" in done.stdout
    imported = {module.split(".")[0] for module in done.stdout.splitlines()[-1].split()}
    assert {"boto3", "sagemaker_object_detection"} <= imported
    assert not {"tensorflow", "keras", "numpy", "PIL", "msgspec"} & imported
