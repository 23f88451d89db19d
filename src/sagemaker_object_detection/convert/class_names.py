"""Class names of a data set that writes classes as numbers: `--names`, a text file, or the `names` of a data.yaml.

A name is what is written: `no` is "no", which YAML itself would read as false. So YAML is read as its nodes, which also
know their lines.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

import yaml

from sagemaker_object_detection.convert.foreign import ForeignDataSet, InvalidError
from sagemaker_object_detection.dataset.annotation_entries import Id
from sagemaker_object_detection.sentences import MAX_TEXT, printable, quoted, shortlist, shown

_EXPECTED = "a text file with one name a line, or a data.yaml"
_END = "\n"
_NUMBER = re.compile("0|[1-9][0-9]{0,8}")
_MAX_YAML = 2**18
"""Characters: the thousands of names of the largest data sets. A list of as many takes seconds, and one of megabytes
minutes: PyYAML is written in Python."""
_UNDERSTOOD = (
    "expected names: [cat, dog], or one name a line as - cat or as 0: cat. Write it so, or give the names with --names"
)


def split_names(text: str, data: ForeignDataSet) -> dict[Id, str]:
    """The names of `--names cat,dog`, by class number."""
    names = enumerate(name.strip() for name in text.split(","))
    return _checked([(f"--names, name {number + 1}", number, name) for number, name in names], data)


def read_names(path: Path, data: ForeignDataSet) -> dict[Id, str]:
    """The names in a file, by class number; what is wrong with it is a problem of the data set."""
    with data.collecting():
        text = data.read_text(path, _EXPECTED)
        if path.suffix.lower() in (".yaml", ".yml"):
            found = _names_of_yaml(path, text)
        else:
            lines = enumerate(text.rstrip().split("\n") if text.strip() else ())
            found = [(f"{path} line {number + 1}", number, line.strip()) for number, line in lines]
        if not found:
            raise InvalidError("unreadable class names", f"{path}: holds no class name. Expected {_EXPECTED}.")
        return _checked(found, data)
    return {}


def number_classes(data: ForeignDataSet, names: str | None, others: Iterable[str] = ()) -> None:
    """Give classes ids where a format has names alone: boxes have the name as their category, and get the id.

    Args:
        names: the classes, with commas between them; their ids are their positions. None: the names in alphabetical
            order.
        others: names that no box has.
    """
    if names is None:
        data.categories = dict(enumerate(sorted({*others, *(str(box.category) for box in data.boxes)})))
    else:
        data.categories = split_names(names, data)
    ids = {name: number for number, name in data.categories.items()}
    for box in data.boxes:
        if box.category not in ids:
            text = (
                f"{box.place}: the class {quoted(box.category)} is not among those of --names ({shortlist(ids)}). "
                f"Add it there or correct it."
            )
            data.add_problem("unknown classes", text)
    data.boxes = [replace(box, category=ids[str(box.category)]) for box in data.boxes if box.category in ids]


def _checked(found: Sequence[tuple[str, int, str]], data: ForeignDataSet) -> dict[Id, str]:
    """Names by class number, from the place, number and name of each. A name that can be none is a problem, and so is a
    number or a name that comes twice."""
    first: dict[str, str] = {}
    for place, _, name in found:
        if data.is_name(place, name) and name in first:
            advice = "Give every class a name of its own."
            text = f"{place}: the name {quoted(name)} is there already ({first[name]}). {advice}"
            data.add_problem("duplicate class names", text)
        first.setdefault(name, place)
    names: dict[Id, str] = {}
    for place, number, name in sorted(found, key=itemgetter(1)):
        if number in names:
            text = f"{place}: class {number} is there already. Give every class a number of its own."
            data.add_problem("unreadable class names", text)
        names[number] = name
    return names


def _names_of_yaml(path: Path, text: str) -> list[tuple[str, int, str]]:
    """(place, class number, name) of each entry of the key `names`."""
    if len(text) > _MAX_YAML:
        fault = f"{path}: has {len(text)} characters, and at most {_MAX_YAML} are read; {_UNDERSTOOD}."
        raise InvalidError("unreadable class names", fault)
    ends = [found.start() for found in re.finditer(_END, text)]

    def place(mark: yaml.Mark) -> str:  # YAML counts lines that editors do not
        return f"{path} line {bisect_left(ends, mark.index) + 1}"

    def refused(fault: str, mark: yaml.Mark) -> InvalidError:
        line = text[text.rfind(_END, 0, mark.index) + 1 :].partition(_END)[0].strip()
        return InvalidError("unreadable class names", f"{place(mark)}: {fault}got {shown(line)}; {_UNDERSTOOD}.")

    def written(node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode) or len(node.value) > MAX_TEXT:  # an alias repeats it in no space
            raise refused("", node.start_mark)
        # JSON writes a character beyond 16 bits as two escapes, which YAML would leave apart.
        return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise refused(f"is not YAML ({printable(str(error.problem))}); ", error.problem_mark) from None
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:  # the last two: of an escape
        fault = f"{path}: is not YAML ({printable(' '.join(str(error).split()))}); {_UNDERSTOOD}."
        raise InvalidError("unreadable class names", fault) from None
    entries = root.value if isinstance(root, yaml.MappingNode) else []
    found = [(key, value) for key, value in entries if key.value == "names"]
    if not found:
        raise InvalidError("unreadable class names", f"{path}: has no key names; {_UNDERSTOOD}.")
    if len(found) > 1:
        raise refused("names is there a second time; ", found[1][0].start_mark)
    _, names = found[0]
    if isinstance(names, yaml.SequenceNode):
        numbered = [(node, number) for number, node in enumerate(names.value)]
    elif isinstance(names, yaml.MappingNode):
        for key, _ in names.value:
            if not _NUMBER.fullmatch(written(key)):
                raise refused("", key.start_mark)
        numbered = [(node, int(key.value)) for key, node in names.value]
    else:
        raise refused("", names.start_mark)
    return [(place(node.start_mark), number, written(node)) for node, number in numbered]
