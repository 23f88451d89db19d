import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sagemaker_object_detection.convert.class_names import read_names, split_names
from sagemaker_object_detection.convert.foreign import ForeignDataSet
from sagemaker_object_detection.convert.yolo import NOTATION

UNDERSTOOD = (
    "expected names: [cat, dog], or one name a line as - cat or as 0: cat. Write it so, or give the names with --names."
)


def read(path, text):
    """Names by number, and the problems without the path."""
    path.write_text(text, encoding="utf-8")
    data = ForeignDataSet("yolo", NOTATION)
    names = read_names(path, data)
    return names, [problem.text.replace(str(path), "FILE") for problem in data.problems]


@pytest.mark.parametrize(
    "text",
    [
        'names: [cat, \'big dog\', "an \\"x\\""]',
        "path: ../x\nnc: 3\nnames: [ cat , big dog, 'an \"x\"' , ]  # all\ntrain: images",
        'names:\n  - cat # a comment\n\n  - big dog\n  # another\n  - an "x"\nnc: 3',
        "names:\n- 'cat'\n- \"big dog\"\n- 'an \"x\"'\nval: x",
        "names: # below\n  0: cat\n  1: big dog\n  2: 'an \"x\"'\nroboflow:\n  names: 7",
        "names: {0: cat, 1: 'big dog',\n  2: 'an \"x\"'}\n",
        "names: [\n  cat,\n  big dog, # two words\n  'an \"x\"'\n]\n",
        "'names':\n  2: 'an \"x\"'\n  0: cat\n  1: big dog",
    ],
)
def test_lists_and_numbered_lists_are_read_in_every_way_they_are_written(text, tmp_path):
    expected = {0: "cat", 1: "big dog", 2: 'an "x"'}
    assert read(tmp_path / "data.yaml", text) == (expected, [])
    theirs = yaml.safe_load(text)["names"]
    assert (theirs if isinstance(theirs, dict) else dict(enumerate(theirs))) == expected


def test_names_are_what_is_written(tmp_path):
    text = "names: [no, 7, a-b, it's, T-72 #1, a:b, C#, 'don''t', null]"
    names = {0: "no", 1: "7", 2: "a-b", 3: "it's", 5: "a:b", 6: "C#", 7: "don't", 8: "null"}
    problems = read(tmp_path / "data.yaml", text)[1]
    assert problems == [
        f"FILE line 1: is not YAML (expected ',' or ']', but got '<stream end>'); got {text!r}; {UNDERSTOOD}"
    ]  # a comment begins behind a blank
    assert read(tmp_path / "data.yaml", text.replace(" #1", "")) == (names | {4: "T-72"}, [])


def test_numbers_may_have_gaps(tmp_path):
    assert read(tmp_path / "data.yaml", "names:\n  7: cat\n  3: dog\n") == ({3: "dog", 7: "cat"}, [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nc: 3\n", f"FILE: has no key names; {UNDERSTOOD}"),
        ("names: classes.txt", f"FILE line 1: got 'names: classes.txt'; {UNDERSTOOD}"),
        (
            "names: [cat, dog",
            f"FILE line 1: is not YAML (expected ',' or ']', but got '<stream end>'); "
            f"got 'names: [cat, dog'; {UNDERSTOOD}",
        ),
        (
            "nc: 1\nnames: [cat,, dog]",
            f"FILE line 2: is not YAML (expected the node content, but found ','); "
            f"got 'names: [cat,, dog]'; {UNDERSTOOD}",
        ),
        ("names: [cat, [dog]]", f"FILE line 1: got 'names: [cat, [dog]]'; {UNDERSTOOD}"),
        (
            "names: [cat] dog",
            f"FILE line 1: is not YAML (expected <block end>, but found '<scalar>'); "
            f"got 'names: [cat] dog'; {UNDERSTOOD}",
        ),
        (
            "names: ['cat' dog]",
            f"FILE line 1: is not YAML (expected ',' or ']', but got '<scalar>'); "
            f"got \"names: ['cat' dog]\"; {UNDERSTOOD}",
        ),
        ("names: {cat: 0}", f"FILE line 1: got 'names: {{cat: 0}}'; {UNDERSTOOD}"),
        (
            "names:\n  - cat\n  1: dog",
            f"FILE line 3: is not YAML (expected <block end>, but found '?'); got '1: dog'; {UNDERSTOOD}",
        ),
        ("names:\n  - {name: cat}", f"FILE line 2: got '- {{name: cat}}'; {UNDERSTOOD}"),
        ("names:\n  - cat: 5", f"FILE line 2: got '- cat: 5'; {UNDERSTOOD}"),
        ("names:\n  cat:\n    - 5", f"FILE line 2: got 'cat:'; {UNDERSTOOD}"),
        (
            "names: ['cat]",
            f'FILE line 1: is not YAML (found unexpected end of stream); got "names: [\'cat]"; {UNDERSTOOD}',
        ),
        ("names: [a]\nnames: [b]", f"FILE line 2: names is there a second time; got 'names: [b]'; {UNDERSTOOD}"),
        ("a: 1\u2028\nnames: x", f"FILE line 2: got 'names: x'; {UNDERSTOOD}"),
        (
            "a: \x01",
            f"FILE: is not YAML (unacceptable character #x0001: special characters are not allowed in "
            f'"<unicode string>", position 3); {UNDERSTOOD}',
        ),
        (
            'names: ["\\Uffffffff"]',
            f"FILE: is not YAML (Python int too large to convert to C int); {UNDERSTOOD}",
        ),
        (
            "names: {0: a, 0: b}",
            "FILE line 1: class 0 is there already. Give every class a number of its own.",
        ),
        (
            "names:\n- a\n- b\n- a",
            "FILE line 4: the name 'a' is there already (FILE line 2). Give every class a name of its own.",
        ),
        (
            "names: [a, b, a]",
            "FILE line 1: the name 'a' is there already (FILE line 1). Give every class a name of its own.",
        ),
        (
            "names: []",
            "FILE: holds no class name. Expected a text file with one name a line, or a data.yaml.",
        ),
        (
            'names: ["a\\nb"]',
            "FILE line 1: the class's name is 'a\\nb'; expected one line of at most 300 characters. Correct it there.",
        ),
    ],
)
def test_what_is_not_understood_is_refused_by_its_line(text, problem, tmp_path):
    assert read(tmp_path / "data.yaml", text)[1] == [problem]


def test_yaml_that_would_take_minutes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(yaml, "compose", lambda *_, **__: pytest.fail("it is read"))
    said = f"FILE: has 2000009 characters, and at most 262144 are read; {UNDERSTOOD}"
    assert read(tmp_path / "data.yaml", "names: [" + "x," * 10**6 + "]") == ({}, [said])


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        (
            st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp", "Cs"]), min_size=1, max_size=8)
            | st.text("-#:,'\"[]{}&*?!|>%@`\\ ab0=~<", min_size=1, max_size=6)
        )
        .map(str.strip)
        .filter(bool),
        min_size=1,
        max_size=6,
        unique=True,
    ),
    st.sampled_from([None, True, False]),
    st.booleans(),
)
def test_what_yaml_writes_is_read_as_yaml_reads_it_or_refused(tmp_path_factory, names, style, numbered):
    path = tmp_path_factory.mktemp("yaml") / "data.yaml"
    content = {"names": dict(enumerate(names)) if numbered else names, "nc": len(names)}
    text = yaml.safe_dump(content, default_flow_style=style, allow_unicode=True, width=10_000)
    found, problems = read(path, text)
    theirs = yaml.safe_load(text)["names"]
    if not problems:
        assert found == (theirs if numbered else dict(enumerate(theirs)))
    assert read(path, f"names: {json.dumps(names)}") == (dict(enumerate(names)), [])


@settings(deadline=None, max_examples=200)
@given(
    st.text("-#:,'\"[]{}&*?!|>%@`\\ ab0=~<", min_size=1, max_size=8), st.sampled_from(["[{}]", "\n- {}", "\n 0: {}"])
)
def test_what_anybody_writes_is_read_as_yaml_reads_it_or_refused(tmp_path_factory, value, way):
    text = "names: " + way.replace("{}", value)
    found, problems = read(tmp_path_factory.mktemp("yaml") / "data.yaml", text)
    if problems:
        return
    try:
        theirs = yaml.load(text, yaml.BaseLoader)["names"]  # which leaves numbers and truth values text
    except yaml.YAMLError:  # we may take what is none, such as a name that is an equals sign
        return
    assert found == ({int(key): name for key, name in theirs.items()} if "0:" in way else dict(enumerate(theirs)))


def test_text_files_have_a_name_a_line(tmp_path):
    assert read(tmp_path / "classes.txt", "cat\r\nbig dog \n\n\n") == ({0: "cat", 1: "big dog"}, [])
    assert read(tmp_path / "obj.names", "cat\n\ndog\n")[1] == [
        "FILE line 2: the class's name is empty; expected one line of at most 300 characters. Correct it there."
    ]


def test_names_of_the_command_line_have_commas_between_them():
    data = ForeignDataSet("yolo", NOTATION)
    assert split_names("cat, big dog", data) == {0: "cat", 1: "big dog"}
    assert data.problems == []
    split_names("cat,", data)
    assert [problem.text for problem in data.problems] == [
        "--names, name 2: the class's name is empty; expected one line of at most 300 characters. Correct it there."
    ]
