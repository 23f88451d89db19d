"""The pages of the documentation as their tests read them: code blocks, commands, headings and links."""

import re
import shlex
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Every Markdown file that git tracks or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    found = sorted({ROOT / name for name in listed if (ROOT / name).exists()})
    assert README in found
    return found


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a page in a language, without what indents them as a whole."""
    found = [match for match in _FENCED.finditer(text) if match[2] == language]
    return [re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE) for match in found]


def prose(text: str) -> str:
    """A page without its code blocks."""
    return _FENCED.sub("", text)


def below(text: str, title: str) -> str:
    """What stands below a heading, up to the next one of its level or above."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,6}} |\Z)", prose_kept(text), re.MULTILINE | re.DOTALL)
    assert found is not None, f"there is no heading {title!r}"
    return found[2].replace("\0", "#")


def prose_kept(text: str) -> str:
    """A page in which no line of a code block looks like a heading."""
    return _FENCED.sub(lambda block: block[0].replace("\n#", "\n\0"), text)


def anchors(text: str) -> set[str]:
    """What a link can name after "#", as GitHub makes it of the headings."""
    found: list[str] = []
    for title in re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return set(found)


def links(text: str) -> list[str]:
    """Where the links of a page lead."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(text)))


def commands(block: str) -> list[list[str]]:
    """The commands of a block of shell, as words, with the block's own variables put in."""
    variables: dict[str, str] = {}
    found = []
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        words = [re.sub(r"\$(\w+)", lambda name: variables.get(name[1], name[0]), word) for word in words]
        while words and (given := re.fullmatch(r"(\w+)=(.*)", words[0])):
            variables[given[1]] = given[2]
            words = words[1:]
        if words:
            found.append(words)
    return found
