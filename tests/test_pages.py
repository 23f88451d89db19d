"""What the pages show is what the code says: rendered parts, commands, links, paths; and no page is long."""

import argparse
import json
import os
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from launch_programs import PROGRAMS
from markdown_pages import README, ROOT, anchors, blocks, commands, links, pages, prose

from sagemaker_object_detection import __version__
from sagemaker_object_detection.__main__ import _parser
from sagemaker_object_detection.artifact.inference import check_content_type
from sagemaker_object_detection.catalogue import CATALOGUE

RENDER = "scripts/render_docs.py"
PAGES = pages()
PACKAGE = ROOT / "src/sagemaker_object_detection"
render_docs = SimpleNamespace(**runpy.run_path(str(ROOT / RENDER)))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


every_page = pytest.mark.parametrize("page", PAGES, ids=name)


@pytest.mark.parametrize(("page", "part", "render"), render_docs.PARTS, ids=[part for _, part, _ in render_docs.PARTS])
def test_rendered_part_is_what_the_code_renders(page, part, render):
    if part == "commands" and sys.version_info[:2] != (3, 11):
        pytest.skip("argparse words its help otherwise in other versions than 3.11, for which the locks are")
    stale = f"{name(page)}: the part {part!r} is stale. Run: .venv/bin/python {RENDER}"
    assert render_docs.with_part(text(page), part, render()) == text(page), stale


def test_help_is_rendered_alike_in_any_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    narrow = render_docs.commands()
    monkeypatch.setenv("COLUMNS", "200")
    assert narrow == render_docs.commands()
    assert max(map(len, narrow.splitlines())) <= render_docs.HELP_WIDTH


def test_help_has_every_verb():
    rendered = render_docs.commands()
    verbs = next(action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)).choices
    assert len(verbs) >= 7
    for verb in verbs:
        assert f"### sagemaker-object-detection {verb}\n" in rendered


def test_page_without_the_markers_is_refused():
    with pytest.raises(ValueError, match="expected one <!-- x: begin -->"):
        render_docs.with_part("# A page\n", "x", "")


def test_base_models_are_listed():
    rendered = render_docs.base_models()
    assert len(rendered.splitlines()) == 2 + len(CATALOGUE)
    for base in CATALOGUE:
        assert f"| `{base.name}` | {base.input_size} | {base.default_epochs} |" in rendered


@every_page
def test_page_is_short(page):
    """Lines that code renders do not count."""
    written = text(page)
    for path, part, _ in render_docs.PARTS:
        if path == page:
            written = render_docs.with_part(written, part, "")
    assert len(written.splitlines()) <= (150 if page == README else 200)


@every_page
def test_links_lead_somewhere(page):
    found = links(text(page))
    assert found, f"{name(page)} links nowhere"
    for link in found:
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)}: {link} leads nowhere"
        assert target.is_relative_to(ROOT), f"{name(page)}: {link} leads out of the repository"
        if anchor:
            assert anchor in anchors(text(target)), f"{name(page)}: {link}: there is no such heading"


@every_page
def test_page_and_main_readme_link_to_each_other(page):
    if page == README:
        return
    first = text(page).splitlines()[:4]
    assert any((page.parent / link).resolve() == README for link in links("\n".join(first))), "no link back at the top"
    assert page in {(ROOT / link.partition("#")[0]).resolve() for link in links(text(README))}


@every_page
def test_paths_in_backticks_exist(page):
    """Files as the pages write them: from the top, from the page's folder, or from the package."""
    for path in re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|sh|toml|yml|md)|\.ci/run)`", prose(text(page))):
        if path.startswith("code/"):  # of a job's model
            continue
        assert any((folder / path).exists() for folder in (ROOT, page.parent, PACKAGE)), f"{name(page)}: {path}"


SHELL = [(name(page), words) for page in PAGES for block in blocks(text(page), "sh") for words in commands(block)]


def options_of(words: list[str]) -> list[str]:
    return [word.partition("=")[0] for word in words if word.startswith("--")]


def check_python(words: list[str]) -> None:
    match words:
        case ["-m", "sagemaker_object_detection", *arguments]:
            _parser().parse_args(arguments)
        case ["-m", "pytest", *arguments]:
            for argument in arguments:
                assert argument.startswith("-") or (ROOT / argument).exists()
        case [script, *arguments] if script.startswith("scripts/"):
            if "def _parser" in text(ROOT / script):
                runpy.run_path(str(ROOT / script))["_parser"]().parse_args(arguments)
            elif Path(script).stem in PROGRAMS:
                PROGRAMS[Path(script).stem].parser().parse_args(arguments)
            else:
                check_source(script, arguments)
        case [script, *arguments]:
            check_source(script, arguments)
        case _:
            pytest.fail("python alone")


def check_source(script: str, arguments: list[str]) -> None:
    """A script whose options cannot be asked for without running it: its text names each."""
    source = (ROOT / script).read_text(encoding="utf-8")
    for option in options_of(arguments):
        assert f'"{option}"' in source, option


def check_shell_script(script: str, arguments: list[str]) -> None:
    path = ROOT / script
    assert path.stat().st_mode & 0o111, "is not executable"
    usage = "".join(line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line[:1] == "#")
    for option in options_of(arguments[: arguments.index("--")] if "--" in arguments else arguments):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", usage), f"{option}: its help does not name it"


def check_docker(words: list[str]) -> None:
    docker = argparse.ArgumentParser(exit_on_error=False)
    docker.add_argument("--rm", action="store_true")
    for option in ("--network", "--gpus", "--shm-size", "-v", "-p"):
        docker.add_argument(option)
    docker.add_argument("image")
    docker.add_argument("command", nargs=argparse.REMAINDER)
    run, *arguments = words
    assert run == "run"
    options = docker.parse_args(arguments)
    assert options.image in ("sagemaker-object-detection:cpu", "sagemaker-object-detection:gpu")
    match options.command:
        case []:
            pass
        case ["python", script, *rest]:
            mounted, _, at = options.v.removesuffix(":ro").rpartition(":")
            check_source(script.replace(at, Path(mounted).name, 1).lstrip("/"), rest)
        case verb:
            _parser().parse_args(verb)


def check_curl(words: list[str]) -> None:
    curl = argparse.ArgumentParser(exit_on_error=False)
    curl.add_argument("--data-binary", required=True)
    curl.add_argument("-H", required=True)
    curl.add_argument("address")
    options = curl.parse_args(words)
    header, _, content_type = options.H.partition(": ")
    assert header == "Content-Type"
    check_content_type(content_type)
    assert options.address == "http://localhost:8080/invocations"


def check_tool(words: list[str]) -> None:
    assert " ".join([f".venv/bin/{words[0]}", *words[1:]]) in (ROOT / ".ci/run").read_text(encoding="utf-8")


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "python": check_python,
    "docker": check_docker,
    "curl": check_curl,
    "ruff": lambda words: check_tool(["ruff", *words]),
    "mypy": lambda words: check_tool(["mypy", *words]),
    # tests/e2e/test_readme_commands.py runs these, or they are git's and the shell's own.
    **{word: lambda words: None for word in (".", "mkdir", "echo", "git")},
}


@pytest.mark.parametrize(("page", "words"), SHELL, ids=[f"{page}-{words[0]}" for page, words in SHELL])
def test_command_is_one_that_the_program_takes(page, words):
    program_name, *arguments = words
    if (ROOT / program_name).is_file() and not program_name.startswith(".venv"):
        check_shell_script(program_name, arguments)
    else:
        CHECKS[program_name.removeprefix(".venv/bin/")](arguments)


def test_commands_are_found():
    assert len(SHELL) >= 40
    assert {"scripts/demo.sh", "scripts/test.sh", "docker", "curl"} <= {words[0] for page, words in SHELL}
    assert {"README.md", "container/README.md", "scripts/README.md"} <= {page for page, _ in SHELL}


def test_the_two_commands_stand_alone_in_the_main_readme():
    for command in ("scripts/demo.sh", "scripts/test.sh"):
        assert f"{command}\n" in blocks(text(README), "sh")
        assert "scripts/test.sh" in (ROOT / ".ci/run").read_text(encoding="utf-8")
    for command in (".ci/run", "scripts/lock.sh", "container/train"):
        assert os.access(ROOT / command, os.X_OK)


def test_python_and_json_in_pages_can_be_parsed():
    python = [block for page in PAGES for block in blocks(text(page), "python")]
    assert len(python) >= 8
    for block in python:
        compile(block, "block", "exec")
    for block in (block for page in PAGES for block in blocks(text(page), "json")):
        json.loads(block)


@every_page
def test_every_code_block_is_read(page):
    """Blocks that are neither shell nor Python nor JSON show output or a tree. One that is not closed is found here."""
    found = sum(len(blocks(text(page), language)) for language in ("sh", "python", "json", "text", ""))
    assert text(page).count("```") == 2 * found


def test_workflow_runs_what_must_pass_and_everything_at_night():
    workflow = yaml.safe_load(text(ROOT / ".github/workflows/ci.yml"))
    [run] = [step for step in workflow["jobs"]["run"]["steps"] if step.get("run", "").endswith(" .ci/run")]
    assert "schedule" in run["env"]["CI_NIGHTLY"]
    assert yaml.safe_load(text(ROOT / ".github/dependabot.yml"))["version"] == 2


def test_changelog_has_the_version():
    found = re.search(r"^## (\S+) - ", text(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert found is not None
    assert found[1] == __version__
