"""Names of regions that are no captions: what programs call regions that nobody described.

ImageJ, QuPath and OMERO give every region a name. Some people write there what they see; mostly it
is a number, an identifier, or the name of a class. Only what reads like words about a picture is
taken for a person's caption, which no model may overwrite; any other name is kept as the extra
``"name"``, beside the caption, and stays the name of the region.

"Brown dog" and "Tumor region" look alike. Such titles (two or three words with one capital letter,
and no article) are names where something says so: words for parts of bodies, tissues and pictures,
or that several regions of one file are called so. Without that they are a person's words.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable

NAME = "name"
"""The extra that holds what another program calls a region."""

_UUID = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)
_WORDS = re.compile(r"[^\W\d_]+(?:['’\-][^\W\d_]+)*")
# What programs call kinds of regions, alone or with a number or a class behind.
_KINDS = re.compile(
    r"(path\s?)?(annotations?|detections?|cell|nucleus|nuclei|tile|root|tma[ _]?core|roi|region|"
    r"region of interest|object|shape|selection|label|unnamed|untitled|polygon|polyline|freehand|"
    r"freeline|traced|composite|rectangle|rotated rectangle|oval|ellipse|circle|point|points|"
    r"multi-?point|line|straight line|segmented line|angle|trace|path|text|mask|image|series|"
    r"layer|slice|frame|class|category|geometry|feature|contour)\s*(object)?s?\W*(\(.*\))?",
    re.IGNORECASE,
)
# A class within a class, as QuPath writes it.
_NESTED = re.compile(r"\w+(: \w+)+")
# Words before a thing that is shown; what else begins with a capital letter is what it is called.
_ARTICLES = (
    "a",
    "an",
    "the",
    "two",
    "three",
    "some",
    "un",
    "une",
    "le",
    "la",
    "les",
    "ein",
    "eine",
)
# What titles end with that are names of parts, and what they begin with.
_PARTS = re.compile(
    r"(cell|nucle(us|olus|i)|region|area|zone|field|tissue|tumou?r|lesion|stroma|gland|duct|vessel|"
    r"arter(y|ie)|vein|nerve|neuron|axon|soma|dendrite|fib(er|re)|follicle|crypt|vill(us|i)|islet|"
    r"lobe|lobule|layer|cortex|medulla|matter|ventricle|atrium|valve|chamber|wall|membrane|lumen|"
    r"capsule|septum|bod(y|ie)|muscle|bone|lung|kidney|liver|spleen|heart|brain|eye|ear|hand|arm|"
    r"leg|foot|breast|skin|node|plaque|deposit|necrosis|artifact|artefact|background|foreground|"
    r"core|spot|well|sample|control|slice|section|part|segment|piece|patch|structure|organ|"
    r"organelle|margin|border|edge|boundar(y|ie)|cent(er|re)|periphery|class|object|label|roi|"
    r"\w{3,}(oma|omata|itis|osis|plasia|cyte|blast|phage|thelium|chyma|some))s?",
    re.IGNORECASE,
)
_SIDES = re.compile(
    r"[A-Z]|left|right|upper|lower|inner|outer|dorsal|ventral|medial|lateral|anterior|posterior|"
    r"proximal|distal|central|peripheral|primary|secondary|positive|negative|normal|healthy|"
    r"cancerous|tumou?r|control|unknown|other|class|group|type|region|area|zone|roi",
    re.IGNORECASE,
)
_COUNTED = re.compile(r"[\s_\-#.(]*\d+\)?\Z")
_OF_SEVERAL = re.compile(r".*\b\d+ of \d+")
# Scripts that set no spaces between words.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
_FEWEST_UNSPACED = 4


def shared_names(names: Iterable[str]) -> frozenset[str]:
    """Return what several regions of a file are called, numbers at the end aside.

    >>> sorted(shared_names(["Red fox", "Red fox 2", "A cat"]))
    ['red fox']
    """
    counts = Counter(map(_without_number, names))
    return frozenset(name for name, count in counts.items() if name and count > 1)


def _without_number(name: str) -> str:
    return _COUNTED.sub("", unicodedata.normalize("NFC", name.strip())).casefold()


def is_name(text: str, fewest: int = 2, shared: Collection[str] = ()) -> bool:
    """Return whether what a program calls a region is a mere name, or nothing, and no caption.

    A caption has at least two words of letters (``fewest``, 1 for a place where people write
    comments; or a few signs of a script without spaces) and is no name that programs make up:
    numbers, identifiers, kinds of objects with a number or a class. Two or three plain words of
    which the first is capital and no article are a name if they call a part, such as a cell, or
    several regions of the file (``shared``, from `shared_names`).

    >>> [is_name(text) for text in ("a cat", "roi_1", "0123-0456", "Annotation (Tumor)", "Cell 7")]
    [False, True, True, True, True]
    >>> [is_name(text) for text in ("T cell", "Left ventricle", "A cat", "T cell.", "t cell")]
    [True, True, False, False, False]
    >>> is_name("Brown dog"), is_name("Brown dog", shared=["brown dog"]), is_name("Tumor region")
    (False, True, True)
    >>> is_name("Region 2 of 3"), is_name("T cell", 1)
    (True, False)
    >>> is_name("un café noir"), is_name("黒い猫が寝ている"), is_name("Tumor")
    (False, False, True)
    """
    text = unicodedata.normalize("NFC", text.strip())
    if not text or any(known.fullmatch(text) for known in (_UUID, _KINDS, _NESTED)):
        return True
    later = (unicodedata.name(sign, "") for sign in text if ord(sign) > 0xE00)
    if sum(name.startswith(_UNSPACED) for name in later) >= _FEWEST_UNSPACED:
        return False
    parts = text.split()
    words = [part for part in parts if _WORDS.fullmatch(part.strip("\"'“”‘’«»()[].,;:!?…-–—"))]
    if len(words) < fewest or not any(len(word) > 1 for word in words):
        return True
    if fewest > 1 and (_OF_SEVERAL.fullmatch(text) or _is_title(parts, shared)):
        return True
    # "Nerve cell 12", "Region B": counted or lettered things.
    last = parts[-1].strip("()#.")
    counted = bool(re.fullmatch(r"[\d.,:/\-]+|[A-Z]|[ivx]+|[IVX]+", last))
    return counted and len(parts) <= 3


def _is_title(parts: list[str], shared: Collection[str]) -> bool:
    """Return whether two or three plain words are what a part, or several regions, are called."""
    plain = len(parts) <= 3 and all(map(_WORDS.fullmatch, parts))
    if not (plain and parts[0][0].isupper()) or parts[0].lower() in _ARTICLES:
        return False
    called = _PARTS.fullmatch(parts[-1]) or _SIDES.fullmatch(parts[0])
    return bool(called) or " ".join(parts).casefold() in shared
