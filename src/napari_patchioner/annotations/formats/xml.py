"""XML, read without any of its dangers, and texts that XML cannot hold."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from napari_patchioner.errors import FormatError
from napari_patchioner.limits import check_depth

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FRAGILE = re.compile("\r|^\\s|\\s$")
_JSON = ":json"
_FIELD = rb"\s+([^\s=]+)\s*=\s*(\"[^\"]*\"|'[^']*')"
_START = re.compile(rb"<[^\s/>]+(?:" + _FIELD + rb")*\s*/?>")


class XmlElement(ElementTree.Element):
    """An element that knows where it stands in the bytes of its file.

    It begins at ``start`` and ends at ``end``; what it holds begins at ``inner`` and ends at
    ``close``. ``inner`` is 0 in a file whose tags are not those of ASCII.
    """

    start = inner = close = end = 0

    @property
    def is_bare(self) -> bool:
        """Whether it is a single tag, ``<a/>``."""
        return self.inner == self.end


def parse_xml(name: str, data: bytes) -> Any:
    """Return the root of an XML file, an `XmlElement`, names without their namespaces."""
    builder = ElementTree.TreeBuilder(element_factory=XmlElement)
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    opened: list[Any] = []

    def refuse(*_: object) -> None:
        raise FormatError(f"{name}: declares a document type (DTD), which is not read; remove it")

    def start(tag: str, fields: dict[str, str]) -> None:
        check_depth(len(opened) + 1, "XML")
        bare = {key.rpartition("}")[2]: text for key, text in fields.items()}
        element: Any = builder.start(tag.rpartition("}")[2], bare)
        element.start = parser.CurrentByteIndex
        match = _START.match(data, element.start)
        element.inner = match.end() if match else 0
        opened.append(element)

    def end(tag: str) -> None:
        builder.end(tag.rpartition("}")[2])
        element = opened.pop()
        element.close = element.end = element.inner
        if data[element.inner - 2 : element.inner] != b"/>":
            element.close = parser.CurrentByteIndex
            element.end = data.find(b">", element.close) + 1

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        why = expat.errors.messages.get(error.code, "unknown error")
        raise FormatError(f"{name}: line {error.lineno}: is no well-formed XML ({why})") from error
    except (LookupError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(
            f"{name}: is written in an encoding that is not read; save it as UTF-8"
        ) from error
    return builder.close()


def with_field(tag: bytes, name: str, text: str) -> bytes:
    r"""Return a start tag whose attribute says so; without the attribute where the text is empty.

    >>> with_field(b"<a b='1' c='2'/>", "b", "<"), with_field(b"<a b='1'>", "b", "")
    (b'<a c=\'2\' b="&lt;"/>', b'<a>')
    """
    for field in re.finditer(_FIELD, tag):
        if field[1] == name.encode():
            tag = tag[: field.start()] + tag[field.end() :]
            break
    if not text:
        return tag
    said = xml_bytes(ElementTree.Element("x", {name: legal(text)}))[2:-3]
    end = len(tag) - (2 if tag.endswith(b"/>") else 1)
    return tag[:end].rstrip() + said + tag[end:]


def xml_bytes(element: ElementTree.Element) -> bytes:
    """Return an element in ASCII, which is the same in any encoding that XML is written in."""
    return bytes(ElementTree.tostring(element, "us-ascii"))


def spliced(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """Return bytes in which parts, from one place to another, are replaced.

    >>> spliced(b"abcd", [(3, 3, b"!"), (1, 2, b"")])
    b'ac!d'
    """
    parts, at = [], 0
    for start, end, new in sorted(edits, key=lambda edit: edit[:2]):
        parts += [data[at:start], new]
        at = end
    return b"".join([*parts, data[at:]])


def legal(text: str) -> str:
    r"""Return a text with a replacement character for each that XML cannot hold.

    >>> legal("a\x00b") == "a\ufffdb"
    True
    """
    return _ILLEGAL.sub("\ufffd", text)


def to_pair(name: str, text: str) -> tuple[str, str]:
    r"""Return a name and a text as XML can hold them, as JSON where it cannot as they are.

    >>> to_pair("caption", "a cat"), to_pair("caption", "a\x00")
    (('caption', 'a cat'), ('"caption":json', '"a\\u0000"'))
    """
    plain = not _ILLEGAL.search(name + text) and not _FRAGILE.search(text) and text
    if plain and not name.endswith(_JSON) and not _FRAGILE.search(name):
        return name, text
    return f"{json.dumps(name)}{_JSON}", json.dumps(text)


def from_pair(name: str, text: str) -> tuple[str, str]:
    """Return the name and the text that stand in XML; undoes `to_pair`."""
    if name.endswith(_JSON):
        try:
            return str(json.loads(name.removesuffix(_JSON))), str(json.loads(text))
        except ValueError:
            pass
    return name, text
