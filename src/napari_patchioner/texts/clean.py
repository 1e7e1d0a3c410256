"""What becomes of texts before they are embedded or learned from: cleaned, and each once."""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import blake2b

from napari_patchioner.errors import FormatError, counted, reason
from napari_patchioner.progress import Progress, no_progress, part

from .files import TOO_LONG, TextSource

LONGEST = 400
"""Characters of the longest text that is kept; text towers read fewer than a hundred tokens."""

EMPTY, WORDLESS, REPEATED = "empty", "without words", "there already"
# Examples that are kept of each reason, and characters of each.
_EXAMPLES, _SHOWN = 5, 80
# Joiners shape letters and emoji; every other character of this kind is invisible.
_JOINERS = "\u200c\u200d"
_KIB_OF_CACHE = 32_768


@dataclass(frozen=True, slots=True)
class Example:
    """A text that was dropped: its source, its line there, and its beginning."""

    source: str
    line: int
    text: str


@dataclass(slots=True)
class Dropped:
    """How many texts were dropped for one reason, and the first of them."""

    count: int = 0
    examples: list[Example] = field(default_factory=list)


@dataclass(slots=True)
class TextReport:
    """How many texts were read and kept, and why the others were dropped, by reason."""

    read: int = 0
    kept: int = 0
    dropped: dict[str, Dropped] = field(default_factory=dict)

    def drop(self, why: str, source: str, line: int, text: str) -> None:
        """Note a text that is dropped."""
        dropped = self.dropped.setdefault(why, Dropped())
        dropped.count += 1
        if len(dropped.examples) < _EXAMPLES:
            shown = cleaned(text[: 4 * _SHOWN].encode("utf-8", "replace").decode())
            if len(shown) > _SHOWN:
                shown = f"{shown[: _SHOWN - 1]}…"
            dropped.examples.append(Example(source, line, shown))

    def sentences(self) -> list[str]:
        """Return what came of the texts, a sentence for each matter.

        >>> report = TextReport(read=3, kept=2)
        >>> report.drop("without words", "cells.txt", 2, "42")
        >>> report.sentences()
        ['2 of 3 texts kept', "1 without words, such as line 2 of cells.txt: '42'"]
        """
        if not self.read:
            return ["there is nothing to read, not a single line"]
        lines = [f"{self.kept:,} of {counted(self.read, 'text')} kept"]
        for why, dropped in self.dropped.items():
            first = dropped.examples[0]
            shown = f": {first.text!r}" if first.text else ""
            where = f"line {first.line:,} of {first.source}"
            lines.append(f"{dropped.count:,} {why}, such as {where}{shown}")
        return lines


def cleaned(text: str) -> str:
    r"""Return a text in composed form (NFC), without control characters, on one line.

    >>> cleaned("a\tcell\u200b  with a nu\u0308cleus\x07\n")
    'a cell with a nücleus'
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if not text.isprintable():
        text = "".join(map(_plain, text))
    return " ".join(text.split())


def _plain(sign: str) -> str:
    """Return a character; white space for what ends lines or is none, nothing for the invisible."""
    match unicodedata.category(sign):
        case "Cc" | "Zl" | "Zp" | "Cs":
            return " "
        case "Cf" if sign not in _JOINERS:
            # Tags spell the flags of countries.
            return sign if "\U000e0020" <= sign <= "\U000e007f" else ""
    return sign


def unfit(text: str, longest: int = LONGEST) -> str:
    """Return why a cleaned text is not kept; empty where it is.

    >>> unfit("12.5 %"), unfit("a cell")
    ('without words', '')
    """
    if not text:
        return EMPTY
    if len(text) > longest:
        return TOO_LONG
    return "" if any(map(str.isalpha, text)) else WORDLESS


def unique_texts(
    sources: Iterable[TextSource],
    report: TextReport | None = None,
    *,
    longest: int = LONGEST,
    progress: Progress | None = None,
) -> Iterator[str]:
    r"""Yield the texts of sources, cleaned, the first of those that differ in case or space only.

    The memory taken does not grow with their number: what was seen is kept by a 128-bit hash, in
    a temporary file where it is much.

    Parameters
    ----------
    sources : iterable of TextSource
        Read in this order.
    report : TextReport, optional
        Filled with what was dropped and why.
    longest : int
        Characters of the longest text that is kept.
    progress : callable, optional
        Called with the fraction of the sources that is read; may raise ``Cancelled``.

    Raises
    ------
    FormatError
        A source cannot be read.

    Examples
    --------
    >>> from napari_patchioner.texts import TextList
    >>> list(unique_texts([TextList.pasted("A cell.\n\na  CELL.\n17")]))
    ['A cell.']
    """
    report = report if report is not None else TextReport()
    sources, progress = list(sources), progress or no_progress
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as seen:
            # A database without a name is in memory until its cache is full, then on disk.
            for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_KIB_OF_CACHE}"):
                seen.execute(f"PRAGMA {pragma}")
            seen.execute("CREATE TABLE seen (key BLOB PRIMARY KEY) WITHOUT ROWID")
            seen.execute("BEGIN")
            for place, source in enumerate(sources):
                share = part(progress, place / len(sources), (place + 1) / len(sources))
                for line in source.lines(share):
                    report.read += 1
                    text = "" if line.problem else cleaned(line.text)
                    why = line.problem or unfit(text, longest)
                    if not why:
                        key = blake2b(text.casefold().encode(), digest_size=16).digest()
                        row = seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,))
                        why = "" if row.rowcount else REPEATED
                    if why:
                        report.drop(why, source.name, line.number, line.text)
                        continue
                    report.kept += 1
                    yield text
    except sqlite3.Error as error:
        raise FormatError(
            f"the temporary file that finds repeated texts cannot be written ({reason(error)}); "
            "make room on its disk"
        ) from error
