"""Words and n-grams the way the COCO caption tools count them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from typing import TypeAlias

Grams: TypeAlias = Counter[tuple[str, ...]]

_BRACKETS = {
    "(": "-lrb-",
    ")": "-rrb-",
    "[": "-lsb-",
    "]": "-rsb-",
    "{": "-lcb-",
    "}": "-rcb-",
}
# What the caption tools leave out after tokenizing. Brackets stay: the tools list them in
# capitals, which lower-case tokens never equal.
_PUNCTUATION = re.compile(r"''|[\"'`?!,:;\u2026]|\.+|``|[-\u2013\u2014]+")
# Words that keep their full stop, as the Stanford tokenizer has them.
_ABBREVIATIONS = frozenset(
    re.findall(
        r"\w+",
        "adm al ala apr ariz assn assoc asst atty attys aug ave bancorp bhd bldg blvd brig bros "
        "calif capt cf cmdr co col colo comdr conn corp cos cpl ct dak dec dept det dr drs ens "
        "esq est etc ext feb fla fri ft ga gen gov govs hon inc ind intl jan jr jul jun kan "
        "kans ky lieut lt ltd maj mar md messrs mfg mich minn mlle mme mo mon mont mr mrs ms "
        "msgr mt natl neb nev nov oct okla penn pfc ph plc pres prof profs pte pty pvt rd rep "
        "reps rev rt sen sens sep sept sgt spc sq sr st ste supt supts sys tel tenn thu thurs "
        "tue tues univ va vs vt wed wis wisc wyo",
    )
)
# These only where they begin with a capital letter, since in small letters they are words.
_NAMES = frozenset(["Del", "Ill", "La", "Mass", "Miss", "Ore", "Pa", "Tex", "Wash"])
# These only before a number.
_COUNTED = frozenset(["no", "nos", "fig", "figs", "prop", "pp"])
# A single letter loses its full stop before one of these, which begin sentences.
_STARTERS = frozenset(
    re.findall(
        r"\w+",
        "a about according after an as at but he her here however if in it last many more now "
        "once one other our she so some such that the their then there these they this we what "
        "when while yet you",
    )
)
_SPLIT = {
    "cannot": "can not",
    "gonna": "gon na",
    "gotta": "got ta",
    "wanna": "wan na",
    "gimme": "gim me",
    "lemme": "lem me",
    "y'all": "y all",
    "'tis": "'t is",
    "'twas": "'t was",
}
_PARTS = re.compile(rf"(?<![\w'])(?:{'|'.join(_SPLIT)})(?!\w)", re.IGNORECASE)
_CLITICS = re.compile(r"(?<=\w)('s|'re|'ve|'ll|'d|'m|n't)(?!\w)-?", re.IGNORECASE)
_QUOTES = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")
_TOKEN = re.compile(
    r"""
      https?://[^\s<>"]+ | www\.[^\s<>"]+          # addresses
    | </?[a-z][^<>]*>                              # mark-up
    | (?<!\w)(?:[^\W\d_]|ph)(?:\.[^\W\d_])+\.?(?!\w)  # t.v., a.m., ph.d.
    | \d+\ \d+/\d+(?!\w)                           # 3 1/2
    | (?:nos?|figs?|pp?)(?=\.\d)                    # no.1
    | (?<!\w)(?:r&b|(?-i:AT&T|[A-Z]&[A-Z]))(?!\w)
    | '\d0s\b | '[nt]'? (?!\w) | n't(?!\w) | '(?:s|re|ve|ll|d|m)(?!\w) | [od]'[^\W\d_]+
    | \d{1,2}(?::\d\d)+ | \d+(?:[.,]\d+)+(?!\w) | (?<!\w)\.\d+(?!\w)
    | [#@][^\W\d_]\w*
    | [^\W_](?:\w|[./@](?=[^\W_])|-(?=[^\W_]))*(?:'[^\W\d_]{2,}\w*)*
    | \.{2,} | [!?]+ | -+ | [^\w\s] | _+
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NEXT_WORD = re.compile(r"\s+([A-Z]\w*)(?!\w)")
_NEXT_NUMBER = re.compile(r"\s*\d")


def tokenize(caption: str, following: str = "") -> list[str]:
    """Lower-case tokens without punctuation, as the caption tools' Stanford tokenizer has them.

    >>> tokenize("A child's bed (close up), open-air.")
    ['a', 'child', "'s", 'bed', '-lrb-', 'close', 'up', '-rrb-', 'open-air']
    >>> tokenize("a cat in front of a. St. Bernard on Main St.")
    ['a', 'cat', 'in', 'front', 'of', 'a.', 'st.', 'bernard', 'on', 'main', 'st.']
    """
    text = _PARTS.sub(lambda results: _SPLIT[results[0].lower()], caption.translate(_QUOTES))
    text = _CLITICS.sub(r" \1 ", text)
    line = f"{text}\n{following.translate(_QUOTES)}"
    tokens = (_stopped(results, line) for results in _TOKEN.finditer(text))
    return [_BRACKETS.get(token, token) for token in tokens if not _PUNCTUATION.fullmatch(token)]


def tokenize_captions(captions: Sequence[str]) -> list[list[str]]:
    """Tokens of each line of a corpus, each read with the line after it in sight.

    >>> tokenize_captions(["in front of a.", "The end."])
    [['in', 'front', 'of', 'a'], ['the', 'end']]
    """
    followed = zip_longest(captions, captions[1:], fillvalue="")
    return [tokenize(caption, following) for caption, following in followed]


def tokenize_references(references: Sequence[Sequence[str]]) -> list[list[list[str]]]:
    """Tokens of the references of each image, all of them as one corpus."""
    tokens = iter(
        tokenize_captions([sentence for sentences in references for sentence in sentences])
    )
    return [[next(tokens) for _ in sentences] for sentences in references]


def _stopped(results: re.Match[str], line: str) -> str:
    """Return a token in small letters, with its full stop where it is an abbreviation."""
    word, end = results[0], results.end()
    small = word.lower()
    if line[end : end + 1] != ".":
        return small.replace(" ", "\N{NO-BREAK SPACE}")
    if len(small) == 1 and small.isalpha():
        after = _NEXT_WORD.match(line, end + 1)
        kept = after is None or after[1].lower() not in _STARTERS
    elif small in _COUNTED:
        kept = _NEXT_NUMBER.match(line, end + 1) is not None
    else:
        kept = small in _ABBREVIATIONS or word in _NAMES
    return f"{small}." if kept else small


def ngrams(tokens: list[str], longest: int = 4) -> list[Grams]:
    """Count runs of 1 to ``longest`` tokens."""
    return [
        Counter(tuple(tokens[start : start + size]) for start in range(len(tokens) - size + 1))
        for size in range(1, longest + 1)
    ]
