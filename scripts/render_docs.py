#!/usr/bin/env python3
"""Renders every part of the pages that comes from code; tests/test_pages.py fails if one is stale.

    .venv/bin/python scripts/render_docs.py

A part stands between `<!-- NAME: begin -->` and `<!-- NAME: end -->`. Prints the pages that it changed.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from sagemaker_object_detection.__main__ import _parser
from sagemaker_object_detection.catalogue import CATALOGUE
from sagemaker_object_detection.describe import describe_markdown
from sagemaker_object_detection.job.settings import HYPERPARAMETERS

PACKAGE = Path(__file__).resolve().parents[1] / "src/sagemaker_object_detection"
HUB = "https://tfhub.dev/tensorflow/"
HELP_WIDTH = 100
"""Columns, whatever the terminal has."""


def base_models() -> str:
    """The table of the catalogue."""
    lines = ["| model | input | default epochs | on TensorFlow Hub | in the Model Garden |", "|---|---|---|---|---|"]
    lines += [
        f"| `{base.name}` | {base.input_size} | {base.default_epochs} "
        f"| `{base.weights.hub_handle.removeprefix(HUB)}` | `{base.weights.tarball}` |"
        for base in CATALOGUE
    ]
    return "\n".join(lines) + "\n"


def commands() -> str:
    """The help of every verb."""
    with mock.patch.dict(os.environ, {"COLUMNS": str(HELP_WIDTH + 2)}):  # argparse leaves two columns free
        return "\n".join(_help(_parser()))


def _help(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f"### {parser.prog}\n\n```text\n{parser.format_help()}```\n"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from _help(verb)


def toolkits() -> str:
    """What is said of hyperparameters of SageMaker's toolkits."""
    lines = ["| names | no effect because |", "|---|---|"]
    for row in HYPERPARAMETERS:
        lines.append(f"| {', '.join(f'`{text}...`' for text in row.beginnings)} | {row.why} |")
    return "\n".join(lines) + "\n"


PARTS = (
    (PACKAGE / "hyperparameters/README.md", "describe", describe_markdown),
    (PACKAGE / "weights/README.md", "base models", base_models),
    (PACKAGE / "COMMANDS.md", "commands", commands),
    (PACKAGE / "job/README.md", "toolkits", toolkits),
)
"""Page, name of the part, and what renders it."""


def with_part(page: str, name: str, part: str) -> str:
    """A page's text with this part anew.

    Raises:
        ValueError: the page has no such part, or more than one.
    """
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    before, *middle = page.split(begin)
    if len(middle) != 1 or middle[0].count(end) != 1:
        raise ValueError(f"expected one {begin.strip()} and one {end.strip()} after it")
    return f"{before}{begin}{part}{end}{middle[0].split(end)[1]}"


def main() -> None:
    """Writes what is stale."""
    for path, name, render in PARTS:
        page = path.read_text(encoding="utf-8")
        rendered = with_part(page, name, render())
        if rendered != page:
            path.write_text(rendered, encoding="utf-8")
            print(path)


if __name__ == "__main__":
    main()
