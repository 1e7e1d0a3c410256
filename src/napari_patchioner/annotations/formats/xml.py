"""XML, read without any of its dangers, and texts that XML cannot hold."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.etree import ElementTree
from xml.parsers import expat

from napari_patchioner.errors import FormatError
from napari_patchioner.limits import check_depth

if TYPE_CHECKING:
    from collections.abc import Iterator

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FRAGILE = re.compile("\r|^\\s|\\s$")
_JSON = ":json"
_FIELD = rb"\s+([^\s=]+)\s*=\s*(\"[^\"]*\"|'[^']*')"
_START = re.compile(rb"<[^\s/>]+(?:" + _FIELD + rb")*\s*/?>")


def parse_xml(name: str, data: bytes) -> ElementTree.Element:
    """Return the root of an XML file."""
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True

    def refuse(*_: object) -> None:
        raise FormatError(f"{name}: declares a document type (DTD), which is not read; remove it")

    depth = 0

    def start(tag: str, fields: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        check_depth(depth, "XML")
        bare = {key.rpartition("}")[2]: text for key, text in fields.items()}
        builder.start(tag.rpartition("}")[2], bare)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag.rpartition("}")[2])

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


@dataclass(slots=True, eq=False)
class XmlPlace:
    """Where an element stands in the bytes of a file.

    Attributes
    ----------
    tag : str
        Its name, without a namespace.
    fields : dict of str to str
        Its attributes.
    start, inner : int
        Where it begins, and where what it holds begins.
    close, end : int
        Where what it holds ends, and where it ends itself.
    children : list of XmlPlace
        The elements in it.
    """

    tag: str
    fields: dict[str, str]
    start: int
    inner: int
    close: int = 0
    end: int = 0
    children: list[XmlPlace] = field(default_factory=list)

    @property
    def is_bare(self) -> bool:
        """Whether it is a single tag, ``<a/>``."""
        return self.inner == self.end

    def iter(self, *tags: str) -> Iterator[XmlPlace]:
        """Yield itself and all elements in it that have one of the names, as they stand."""
        pending = [self]
        while pending:
            result = pending.pop()
            if result.tag in tags:
                yield result
            pending += reversed(result.children)


def xml_places(data: bytes) -> XmlPlace:
    """Return the root of a file that `parse_xml` has read, by where its elements stand."""
    parser = expat.ParserCreate(namespace_separator="}")
    top = XmlPlace("", {}, 0, 0)
    opened = [top]

    def start(tag: str, fields: dict[str, str]) -> None:
        at = parser.CurrentByteIndex
        match = _START.match(data, at)
        if match is None:
            raise FormatError("is written in an encoding whose tags are not those of ASCII")
        bare = {key.rpartition("}")[2]: text for key, text in fields.items()}
        xml_place = XmlPlace(tag.rpartition("}")[2], bare, at, match.end())
        opened[-1].children.append(xml_place)
        opened.append(xml_place)

    def end(_: str) -> None:
        result = opened.pop()
        if data[result.inner - 2 : result.inner] == b"/>":
            result.close = result.end = result.inner
        else:
            result.close = parser.CurrentByteIndex
            result.end = data.index(b">", result.close) + 1

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.Parse(data, True)
    return top.children[0]


def with_field(tag: bytes, name: str, text: str) -> bytes:
    r"""Return a start tag whose attribute says so; without the attribute where the text is empty.

    >>> with_field(b"<a b='1' c='2'/>", "b", "<"), with_field(b"<a b='1'>", "b", "")
    (b'<a c=\'2\' b="&lt;"/>', b'<a>')
    """
    for results in re.finditer(_FIELD, tag):
        if results[1] == name.encode():
            tag = tag[: results.start()] + tag[results.end() :]
            break
    if not text:
        return tag
    said = xml_bytes(ElementTree.Element("x", {name: legal(text)}))[2:-3]
    end = len(tag) - (2 if tag.endswith(b"/>") else 1)
    return tag[:end].rstrip() + said + tag[end:]


def xml_bytes(element: ElementTree.Element) -> bytes:
    """Return an element in ASCII, which is the same in any encoding that XML is written in."""
    made = ElementTree.tostring(element, "us-ascii")
    return bytes(made)


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
