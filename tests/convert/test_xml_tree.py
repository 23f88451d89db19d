import time

import pytest

from sagemaker_object_detection.convert.xml_tree import UnreadableXmlError, parse_xml


def test_elements_know_their_lines_texts_and_children():
    root = parse_xml(b"<?xml version='1.0'?>\n<a>\n <b>1 &lt; 2</b>\n <c/><b>\n</b></a>")
    assert (root.tag, root.line) == ("a", 2)
    assert [(child.line, child.text) for child in root.all("b")] == [(3, "1 < 2"), (4, "\n")]
    assert [child.tag for child in root.children] == ["b", "c", "b"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_encodings_that_the_file_names_are_read(encoding):
    declared = encoding.removesuffix("-sig")
    assert parse_xml(f"<?xml version='1.0' encoding='{declared}'?><a>é</a>".encode(encoding)).text == "é"


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", "line 1, column 1: is not XML (no element found)"),
        (b"<a><b></a>", "line 1, column 9: is not XML (mismatched tag)"),
        (b"<a>\n&nbsp;</a>", "line 2, column 1: is not XML (undefined entity)"),
        (b"<a/>\n<b/>", "line 2, column 1: is not XML (junk after document element)"),
        (b"<a>\xff</a>", "line 1, column 4: is not XML (not well-formed (invalid token))"),
        (b"<!DOCTYPE a><a/>", "line 1: declares a document type (DOCTYPE)"),
        (b"\n<!DOCTYPE a SYSTEM 'file:///etc/passwd'>\n<a/>", "line 2: declares a document type (DOCTYPE)"),
        (b"<a>" * 33, "line 1: is nested more than 32 deep"),
        (b"<?xml version='1.0' encoding='klingon'?><a/>", "is in an encoding that cannot be read (unknown encoding:"),
    ],
)
def test_what_is_no_plain_xml_is_refused(raw, fault):
    with pytest.raises(UnreadableXmlError) as caught:
        parse_xml(raw)
    assert str(caught.value).startswith(fault)


def test_entities_that_multiply_are_refused_before_they_do():
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE a [<!ENTITY a0 "aaaaaaaaaa">{entities}]><a>&a11;</a>'.encode()
    began = time.process_time()
    with pytest.raises(UnreadableXmlError, match="DOCTYPE"):
        parse_xml(bomb)
    assert time.process_time() - began < 0.5
