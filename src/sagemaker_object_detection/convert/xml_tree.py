"""Parses small XML files from strangers: elements with their line numbers, and nothing that XML can do beyond that.

The standard library's ElementTree keeps no line numbers and expands entities, of which a few lines can make gigabytes
("billion laughs"). A document type is where entities are declared, so a file that has one is refused as a whole.
"""

from dataclasses import dataclass, field
from xml.parsers import expat

_MAX_DEPTH = 32


class UnreadableXmlError(Exception):
    """Not XML, or XML that is refused; the message continues "file ..."."""


@dataclass
class Element:
    """tag; the number of the line it begins on; the text before, between and behind its children; and those."""

    tag: str
    line: int
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def all(self, tag: str) -> list["Element"]:
        """The children with this tag."""
        return [child for child in self.children if child.tag == tag]


def parse_xml(raw: bytes) -> Element:
    """The root element of a file.

    Raises:
        UnreadableXmlError: it is not well-formed, has a document type, or is nested deeper than anything we read.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    document = Element("", 0)
    path = [document]
    texts: list[list[str]] = [[]]  # joined at the end: what stands between a million children is as many pieces

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(path) > _MAX_DEPTH:
            raise UnreadableXmlError(f"line {parser.CurrentLineNumber}: is nested more than {_MAX_DEPTH} deep")
        element = Element(tag, parser.CurrentLineNumber)
        path[-1].children.append(element)
        path.append(element)
        texts.append([])

    def end(tag: str) -> None:
        path.pop().text = "".join(texts.pop())

    def characters(text: str) -> None:
        texts[-1].append(text)

    def document_type(*_: object) -> None:
        raise UnreadableXmlError(f"line {parser.CurrentLineNumber}: declares a document type (DOCTYPE)")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = document_type
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as error:
        cause = expat.ErrorString(error.code)
        raise UnreadableXmlError(f"line {error.lineno}, column {error.offset + 1}: is not XML ({cause})") from None
    except (LookupError, ValueError) as error:  # an encoding that Python does not know, or that does not fit
        raise UnreadableXmlError(f"is in an encoding that cannot be read ({error})") from None
    return document.children[0]
