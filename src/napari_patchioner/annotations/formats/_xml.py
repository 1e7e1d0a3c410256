"""XML, read without any of its dangers, and texts that XML cannot hold."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree
from xml.parsers import expat

from napari_patchioner.errors import FormatError
from napari_patchioner.limits import check_depth

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FRAGILE = re.compile("\r|^\\s|\\s$")
_JSON = ":json"


def parse_xml(name: str, data: bytes) -> ElementTree.Element:
    """Return the root of an XML file.

    Parameters
    ----------
    name : str
        The file, for messages.
    data : bytes
        Its contents.

    Raises
    ------
    FormatError
        If it is no well-formed XML, or declares a document type: entities are declared there,
        which can name other files or grow without end.
    """
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
