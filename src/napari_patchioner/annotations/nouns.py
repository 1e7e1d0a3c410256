"""What captions name: their nouns, the plurals of those, and numbers in words."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

from napari_patchioner.decoders.options import plural_forms


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FRAME = re.compile(
    r"^(?:there (?:is|are)|this (?:is|shows)|these are|it is|(?:the|this) image shows"
    r"|an? (?:close[- ]up|photo|photograph|picture|image|view) of)\s+",
    re.IGNORECASE,
)
_HEDGED = re.compile(
    r"\?\s*$|^(?:not sure|it is not clear|this may be)\b|^(?:may|might) be\b", re.IGNORECASE
)
# What follows is no part of the noun.
_END = re.compile(r"[,;!?()\[\]—–]|\.(?!\d)|\s-\s")
_ONE = _words("a an the this that its his her their my our your some one single another")
_ARTICLES = _words("a an the its his her their my our your")
_SEVERAL = _words(
    "several many few multiple numerous various both these those lots two three four five six "
    "seven eight nine ten eleven twelve dozens hundreds"
)
_BUNCHES = _words(
    "group groups couple pair pairs bunch bunches number lot lots cluster clusters pile piles row "
    "rows set sets crowd crowds"
)
_ABOUT = ("about", "approximately", "around", "roughly", "nearly")
_AFTER = _words(
    "on in at near under over of with without and or but by to from into onto for behind beside "
    "between above below around along across against inside outside upon through among amid "
    "as while when where that which who whose is are was were be been am has have had do does did "
    "will would could should must cannot looking next here there now today again together"
)
# "The largest airplane" is an airplane, told from the others.
_WHICH = _words("left right top bottom middle larger smaller largest smallest")
# A caption with one of them claims that there is no such thing; "nucleus no. 4" has a number.
_NEGATIONS = _words("no not none never neither nor nothing nobody cannot missing absent")
_NEGATION = re.compile(r"n['’]t\Z")
_NUMBERED = re.compile(
    r"\s+(?:(?:no|nr|number|id)\b[.:]?\s*#?|[#№]\s*)\d+[a-z]?\W*\Z|(?<=[^\W\d_]{4})[_#-]\d+[a-z]?\W*\Z",
    re.IGNORECASE,
)
# Behind a noun they are verbs.
_VERBS = _words(
    "run walk sit stand lie look eat play jump hold wear ride contain appear seem sleep swim "
    "divide grow touch surround belong move come get make take carry hang lean wait read graze "
    "climb smile glow bark chase follow catch throw kick push pull hug kiss talk speak laugh sing"
)
# Of these, what ends in -ing or -ed is a thing, or says which.
_THINGS = _words(
    "building ceiling railing painting drawing clothing earring awning crossing morning evening "
    "lightning dressing frosting pudding siding icing marking opening covering stuffing swing "
    "string spring ring wing king thing sling duckling sibling dwelling staining lining fitting "
    "bed shed sled seed weed reed breed hundred red stocking living"
)
# Formulas, addresses, paths, tags and what stands for a name that is still to come.
_NO_NOUN = re.compile(
    r"^[=@#]|://|\bwww\.|\w@\w|^[a-z]:[\\/]|^(?:figs?\b\.?|figures?|eqs?\.|ref\.|tab\.|sec\.)\s*\d"
    r"|^(?:n[./]?a\.?|to ?do|tb[cd]|fixme|xx+|none|nil|null|nan|unknown|unlabell?ed|untitled"
    r"|unnamed|misc\.?|etc\.?|idem|ditto|same|others?)$",
    re.IGNORECASE,
)
# Letters first, or last behind a number; what joins them are no other signs than these.
_WORD = re.compile(r"(?=.*[^\W\d_])[^\W_](?:[^\W_]|[-+.'’])*")
_TITLES = _words("mr. mrs. ms. dr. prof. st. mr mrs ms dr prof")
# The heads of names in capitals that are names of kinds, besides what the embedded model knows.
_KINDS = _words(
    "cell nucleus nuclei nucleolus vessel gland tissue tubule tubuli capsule glomerulus glomeruli "
    "duct follicle villus villi crypt artery vein capillary neuron neurone axon dendrite synapse "
    "fiber fibre filament lumen membrane vacuole organelle droplet granule island islet lobule "
    "septum cortex medulla nerve ganglion tumor tumour lesion plaque polyp cyst crystal grain pore "
    "particle crack defect body stroma epithelium endothelium muscle bone tree leaf stem root seed "
    "bacterium bacteria colony spot region area object background sample thing scratch void phase "
    "inclusion fold bubble mitosis artefact artifact lymphocyte spine spindle wall layer edge"
)
# Names of their own, though they begin as a description does.
_COMPOUNDS = (
    *("teddy bear", "sea lion", "sea horse", "rubber duck", "guinea pig", "prairie dog"),
    *("hot dog", "hard drive", "hard hat", "hot air balloon", "hot tub", "red panda"),
    *("living room", "plastic bag", "red blood cell", "white blood cell", "open space"),
)
_ADJECTIVES = _words(
    "black white gray grey red orange yellow green blue purple pink brown beige golden silver dark "
    "bright light pale vivid colourful colorful large small big little tiny huge long short tall "
    "wide narrow thick thin flat round square oval circular elliptical rectangular triangular "
    "irregular straight curved hollow empty full open closed old young new fresh clean dirty wet "
    "dry hot cold soft hard smooth rough grainy striped spotted textured shiny metal metallic "
    "wooden plastic glass ceramic stone brick concrete leather cotton fluffy furry hairy cute "
    "beautiful bare ripe raw single double bright dense sparse faint blurry mitotic apoptotic "
    "necrotic elongated epithelial stained unstained healthy dead live living adult male female "
    "darker brighter lighter larger smaller left right upper lower nearby distant other same "
    "similar different whole"
)
_QUALIFYING = re.compile(r"(?:ish|ous|ful|less|shaped|colou?red|like|\w{4,}ed)$")
_FROM_MANY = re.compile(r"\d[\d,.]*$")
_PRONOUNS = _words(
    "something anything everything nothing someone anyone nobody it he she they we you what who"
)
# Beyond Latin and Greek letters there are other grammars.
_LAST_LETTER = "\u03ff"
# Words of a noun; a longer rest is a sentence that was not understood.
_MOST_WORDS = 3

_LATIN = {
    "us": (
        "i",
        "nucle nucleol bacill fung cact loc stimul vill glomerul thromb sulc gyr radi cocc",
    ),
    "um": ("a", "bacteri ov strat endotheli epitheli flagell cili sept op medi spectr"),
    "on": ("a", "mitochondri gangli criteri phenomen"),
    "a": ("ae", "vertebr alg larv pup hyph antenn nebul lacun"),
    "is": ("es", "ax analys cris metastas diagnos bas mitos"),
    "ix": ("ices", "matr append"),
    "ex": ("ices", "cort ap vert"),
    "f": ("ves", "lea shel hal wol loa thie scar hoo cal shea"),
    "fe": ("ves", "kni wi li"),
    "o": ("oes", "tomat potat her ech mang torped volcan"),
}
_ALIKE = _words(
    "sheep fish deer aircraft series species scissors pants trousers jeans shorts glasses skis "
    "cattle people police offspring bison moose shrimp buffalo headphones sunglasses binoculars "
    "pajamas stairs clothes trunks zucchini"
)
_REGULAR = ("human", "german", "roman", "shaman", "ottoman", "mongoose")
# They end as plurals do.
_SINGULAR = _words("lens gas canvas atlas pancreas biceps triceps christmas gris")
_IRREGULAR_PLURALS = _words("children feet geese men mice oxen people teeth women")
_MASS = _words(
    "grass sky water sand snow ice hair fur food furniture wood metal paper dirt soil mud "
    "gravel rock smoke fog air rain foam tissue blood bone cartilage collagen mucus stroma fat "
    "muscle clothing luggage traffic foliage vegetation ivy hay straw rice bread cheese meat "
    "broccoli pasta soup milk coffee tea juice wine beer chocolate fruit jewelry equipment "
    "asphalt concrete marble cytoplasm background debris plastic fabric denim ocean sea"
)
# What no image has a number of, though many of it are spoken of
_UNCOUNTED = _words("texture pattern foreground noise blur")
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth"),
    *("seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"),
)


def is_hedged(caption: str) -> bool:
    """Whether a caption claims nothing: a guess, or that nobody knows.

    >>> is_hedged("cup, bowl or vase?"), is_hedged("This may be a cup."), is_hedged("a cup")
    (True, True, False)
    """
    return bool(_HEDGED.search(caption))


def noun_of(caption: str) -> str:
    """Return what a caption names, in the singular and without adjectives; empty if it is unsure.

    Several of a thing are a group of them. The rules know no dictionary: what they do not
    understand names nothing.

    Parameters
    ----------
    caption : str
        A name, a phrase or a sentence.

    Returns
    -------
    str
        At most three words; the first letter is small unless the word has more capitals.

    Examples
    --------
    >>> noun_of("a brown dog on a field"), noun_of("There is a red fire truck."), noun_of("Nucleus")
    ('dog', 'fire truck', 'nucleus')
    >>> noun_of("two black squares"), noun_of("a group of people"), noun_of("leaf: a green spot")
    ('group of squares', 'group of people', 'leaf')
    >>> noun_of("nuclei"), noun_of("trees in a park"), noun_of("a hot dog"), noun_of("a blue bus")
    ('group of nuclei', 'group of trees', 'hot dog', 'bus')
    >>> noun_of("cup or bowl?"), noun_of("a man riding a wave"), noun_of("a red building")
    ('', 'man', 'building')
    """
    return _parsed(caption).noun


def phrase_of(caption: str) -> str:
    """Return what a caption names as it says it: with article and adjectives, and no more.

    >>> phrase_of("There is a brown dog on a field."), phrase_of("Nucleus"), phrase_of("red bus")
    ('a brown dog', 'a nucleus', 'a red bus')
    >>> phrase_of("several dogs on grass"), phrase_of("trees in a park"), phrase_of("cup?")
    ('several dogs', 'trees', '')
    """
    parsed = _parsed(caption)
    noun = parsed.noun.removeprefix("group of ")
    return _with_article(parsed.phrase, noun) if parsed.is_bare else parsed.phrase


class _Parsed(NamedTuple):
    """What a caption names: the noun, and the phrase that it stands in."""

    noun: str = ""
    phrase: str = ""
    # Whether the phrase lacks the article that it may take.
    is_bare: bool = False


@lru_cache(maxsize=16384)
def _parsed(caption: str) -> _Parsed:
    if is_hedged(caption) or _NO_NOUN.search(caption.strip()):
        return _Parsed()
    text = _FRAME.sub("", _NUMBERED.sub("", " ".join(caption.split()))).partition(":")[0]
    start = text.split(maxsplit=1)[:1]
    if start and start[0].casefold() in _TITLES:  # its stop ends no sentence
        text = text.replace(".", "", 1)
    words = _END.split(text, maxsplit=1)[0].split()
    if any(map(_is_negation, words[: _denied_of(words)])):
        return _Parsed()
    several, singular, before = False, False, 0
    while before < len(words):
        word, after = words[before].casefold(), words[before + 1 : before + 2]
        if word in _BUNCHES and [w.casefold() for w in after] == ["of"]:
            # A pair of scissors is one thing.
            things = words[before + 2 :]
            things = things[: _end_of(things)]
            is_one = word == "pair" and bool(things) and is_plural_only(things[-1])
            several, before = several or not is_one, before + 2
        elif word in _ABOUT and after and _FROM_MANY.match(after[0]):
            before += 1
        elif word in _SEVERAL or (_FROM_MANY.match(word) and word != "1"):
            several, before = True, before + 1
        elif word in _ONE or word == "1":
            singular = singular or word in ("a", "an", "one", "single", "another", "1")
            before += 1
        else:
            break
    rest = words[before:]
    end = _end_of(rest)
    is_known = before == 1 and words[0].casefold() == "the"
    if (is_known or not before) and _is_own_name(rest[:end], known=is_known):
        name = " ".join(rest[:end])
        return _Parsed(name, f"the {name}" if before else name)
    # "A dog chases a cat": what comes before another article is a verb.
    is_sentence = 1 < end < len(rest) and rest[end].casefold() in _ARTICLES
    rest = _subject_of(rest[: end - is_sentence], singular=singular)
    noun = list(rest)
    if is_known and len(noun) > 1 and noun[0].casefold() in _WHICH:
        noun = noun[1:]
    while len(noun) > 1 and _is_adjective(noun[0]) and " ".join(noun).casefold() not in _COMPOUNDS:
        noun = noun[2:] if len(noun) > 2 and noun[1].casefold() == "and" else noun[1:]
    if not 0 < len(noun) <= _MOST_WORDS or not noun[-1][-1].isalnum():
        return _Parsed()
    is_initial = len(noun[-1]) == 1 and noun[-1] != caption.strip()
    if is_initial or not all(map(_WORD.fullmatch, noun)):
        return _Parsed()
    if noun[0].casefold() in _PRONOUNS or max(map(max, noun)) > _LAST_LETTER:
        return _Parsed()
    name = " ".join(_small(noun))
    phrase = " ".join(_small(words[: before + len(rest)]))
    is_group = several or (not singular and _is_plural(noun[-1]))
    return _Parsed(f"group of {name}" if is_group else name, phrase, not before)


def _is_own_name(words: Sequence[str], *, known: bool) -> bool:
    """Whether words are the name of somebody or of one thing: "Eileen Collins", "Mr. Smith".

    Those whose last word is a kind of thing are a label in capitals: "Fire Truck", "Red Cell";
    unless they are ``known``, as with "the" before them: "the Eiffel Tower".
    """
    if len(words) < 2 or len(words) > _MOST_WORDS or not all(map(_is_capital, words)):
        return False
    if words[0].casefold() in _TITLES:
        return True
    if known and not _is_adjective(words[0]):
        return True
    return words[-1].casefold() not in _kinds()


def _is_capital(word: str) -> bool:
    """Whether a word begins with a capital and has no other, as "Collins" or "Smith-Jones" do."""
    parts = word.rstrip(".").split("-")
    return all(part[:1].isupper() and (part[1:].islower() or not part[1:]) for part in parts)


@lru_cache(maxsize=1)
def _kinds() -> frozenset[str]:
    """Return nouns of kinds, in small letters: what the embedded model knows, and a few more."""
    file = files("napari_patchioner") / "models" / "embedded" / "concepts.json"
    known = {*_KINDS, *map(plural_of, _KINDS)}
    for concept in json.loads(file.read_text(encoding="utf-8")):
        for name in (concept["name"], concept["plural"], *concept.get("synonyms", ())):
            known.add(name.split()[-1].casefold())
    return frozenset(known)


def is_own_name(noun: str) -> bool:
    """Whether a noun is the name of somebody or of one thing, which takes no article or number.

    >>> is_own_name("Eileen Collins"), is_own_name("fire truck"), is_own_name("DAPI")
    (True, False, False)
    """
    words = noun.split(" ")
    return len(words) > 1 and all(map(_is_capital, words))


def _is_negation(word: str) -> bool:
    plain = word.casefold()
    return plain in _NEGATIONS or _NEGATION.search(plain) is not None


def _denied_of(words: Sequence[str]) -> int:
    """Return how many words there are up to where a negation no longer speaks of the thing."""
    for index, word in enumerate(words):
        if word.casefold() in (
            "that",
            "which",
            "who",
            "whose",
            "where",
            "with",
            "without",
            "and",
            "or",
        ):
            return index
    return len(words)


def _subject_of(words: list[str], *, singular: bool) -> list[str]:
    """Return words without the verb behind them: "dog" of "dog runs"."""
    for index, word in enumerate(words[1:], start=1):
        plain = word.casefold()
        if all(map(_is_adjective, words[:index])):
            continue
        many = _is_plural(words[index - 1])
        stem = plain.removesuffix("s") if not many else plain
        is_verb = stem in _VERBS or plain.removesuffix("es") in _VERBS
        # "Stand" alone is a thing, as in "flower stand".
        if is_verb and (many or plain.endswith("s")):
            return words[:index]
    # One thing has no plural: what ends in -s is a verb, unless it belongs to somebody.
    is_owned = any(word.endswith(("'s", "’s", "s'")) for word in words)
    is_named = not all(map(_is_adjective, words[:-1]))
    if singular and is_named and _is_plural(words[-1]) and not is_owned:
        return words[:-1]
    return words


def is_plural_only(noun: str) -> bool:
    """Whether a noun is a plural though it names one thing: "scissors", "jeans".

    >>> is_plural_only("scissors"), is_plural_only("series"), is_plural_only("a pair of glasses")
    (True, False, True)
    """
    word = noun.split()[-1].casefold()
    return word in _ALIKE and word.endswith("s") and word not in ("series", "species")


def _small(words: Sequence[str]) -> list[str]:
    """Return words without the capitals that a sentence or a label begins with."""
    first = words[0]
    start = first.lower() if first[1:].islower() or first == "A" else first
    # "Espresso Cup" is a label, "Golgi apparatus" may be a name.
    is_label = len(words) > 1 and all(map(_is_capital, words))
    return [start, *(word.lower() if is_label else word for word in words[1:])]


def _is_plural(word: str) -> bool:
    """Whether a word without an article is likely the plural of what can be counted."""
    plain = word.casefold()
    if plain in _ALIKE or plain in _SINGULAR:
        return plain == "people"
    is_latin = any(
        plain.removesuffix(plural) in stems.split()
        for plural, stems in _LATIN.values()
        if plain.endswith(plural)
    )
    is_usual = len(plain) > 3 and plain.endswith("s") and not plain.endswith(("ss", "us", "is"))
    return is_latin or is_usual or plain in _IRREGULAR_PLURALS


def _end_of(words: Sequence[str]) -> int:
    """Return how many words there are before a place, a verb or another thing."""
    for index, word in enumerate(words):
        plain = word.casefold()
        around = words[index - 1 : index + 2 : 2] if 0 < index < len(words) - 2 else ()
        if plain == "and" and around and all(map(_is_adjective, around)):
            # "a black and white cat"
            continue
        # "several spots 10 µm across"
        if plain in _AFTER or (index and plain in _ARTICLES) or (index and plain[0].isdigit()):
            return index
        is_verb = len(plain) > 4 and plain.endswith(("ing", "ed")) and plain not in _THINGS
        if index and is_verb and not all(map(_is_adjective, words[:index])):
            return index
    return len(words)


def _is_adjective(word: str) -> bool:
    plain = word.casefold()
    return plain in _ADJECTIVES or (plain not in _THINGS and _QUALIFYING.search(plain) is not None)


def is_bare(caption: str) -> bool:
    """Whether a caption says no more than its noun.

    >>> is_bare("a nucleus"), is_bare("a dark nucleus"), is_bare("There is a nucleus.")
    (True, False, True)
    """
    words = _FRAME.sub("", " ".join(caption.split())).rstrip(".").split()
    while words and words[0].casefold() in _ONE:
        words = words[1:]
    return bool(words) and " ".join(words).casefold() == noun_of(caption).casefold()


@lru_cache(maxsize=1024)
def plural_of(noun: str) -> str:
    """Return the usual plural of a noun.

    >>> plural_of("nucleus"), plural_of("bus"), plural_of("person"), plural_of("knife")
    ('nuclei', 'buses', 'people', 'knives')
    >>> plural_of("giraffe"), plural_of("slice of pizza"), plural_of("sheep"), plural_of("city")
    ('giraffes', 'slices of pizza', 'sheep', 'cities')
    """
    if is_own_name(noun):
        return noun
    head, of, rest = noun.partition(" of ")
    *before, word = head.split(" ")
    plain = word.casefold()
    if plain in _ALIKE or plain.endswith("fish"):
        return noun
    for ending, (plural, stems) in _LATIN.items():
        stem = plain.removesuffix(ending)
        known = stems.split()
        # Shelves make bookshelves.
        if stem != plain and (stem in known or (ending == "f" and stem.endswith(tuple(known)))):
            made = word[: -len(ending)] + plural
            break
    else:
        forms = [form for form in plural_forms(word) if not _is_wrong(word, form)]
        made = forms[-1] if forms else word
    return " ".join([*before, made]) + of + rest


def _is_wrong(word: str, form: str) -> bool:
    """Whether a plural is one that only some words like this have."""
    plain = word.casefold()
    endings = [(end, plural) for end, (plural, _) in _LATIN.items() if plain.endswith(end)]
    usual = (f"{plain}s", f"{plain}es")
    if any(form.casefold() == plain.removesuffix(end) + p for end, p in endings):
        return True
    if plain.endswith(_REGULAR):
        return form.casefold() not in usual
    # Where a word has a plural of its own, the usual one is none.
    own = [other for other in plural_forms(word) if other.casefold() not in usual]
    own = [o for o in own if not any(o.casefold() == plain.removesuffix(e) + p for e, p in endings)]
    return bool(own) and form != own[0]


def head_of(noun: str) -> str:
    """Return what a noun of several words is one of, in small letters.

    >>> head_of("cell nucleus"), head_of("hot dog"), head_of("slice of pizza"), head_of("Cat")
    ('nucleus', 'hot dog', 'slice of pizza', 'cat')
    """
    plain = noun.casefold()
    return plain if plain in _COMPOUNDS or " of " in plain else plain.split()[-1]


def kin_of(noun: str) -> str:
    """Return what a noun and all that may be counted with it have in common.

    >>> kin_of("nucleus"), kin_of("group of nuclei"), kin_of("Cell nucleus"), kin_of("")
    ('nuclei', 'nuclei', 'nuclei', '')
    """
    if not noun:
        return ""
    name = noun.removeprefix("group of ")
    word = name.partition(" of ")[0].split()[-1].casefold()
    return word if name != noun or _is_plural(word) else plural_of(word)


def with_article(noun: str) -> str:
    """Return a noun with the article it takes.

    >>> with_article("umbrella"), with_article("grass"), with_article("group of dogs")
    ('an umbrella', 'grass', 'a group of dogs')
    """
    if is_own_name(noun):
        return noun
    return _with_article(noun, noun)


def _with_article(phrase: str, noun: str) -> str:
    """Return a phrase with the article that its noun takes."""
    # It loads torch, as whatever captioned the regions has done already.
    from napari_patchioner.decoders.grounded import vocabulary

    last = noun.partition(" of ")[0].split()[-1].casefold()
    bare = last in _MASS or (last in _ALIKE and last.endswith("s")) or _is_plural(last)
    return vocabulary.with_article(phrase, mass=bare)


def is_mass(noun: str) -> bool:
    """Whether a noun is not counted: "grass", "water", "texture", "Eileen Collins"."""
    last = noun.split()[-1].casefold()
    return is_own_name(noun) or (last in _MASS | _UNCOUNTED and " of " not in noun)


def with_the(noun: str) -> str:
    """Return what one thing is called that is known already.

    >>> with_the("vessel"), with_the("Eileen Collins")
    ('the vessel', 'Eileen Collins')
    """
    return noun if is_own_name(noun) else f"the {noun}"


def number_words(count: int) -> str:
    """Return a number as it stands in a sentence.

    >>> number_words(3), number_words(12), number_words(1200)
    ('three', '12', '1,200')
    """
    return _NUMBERS[count] if 0 <= count < len(_NUMBERS) else f"{count:,}"


def ordinal(place: int) -> str:
    """Return an ordinal.

    >>> ordinal(3), ordinal(21), ordinal(112), ordinal(13)
    ('third', '21st', '112th', '13th')
    """
    if 0 < place <= len(_ORDINALS):
        return _ORDINALS[place - 1]
    ends = {1: "st", 2: "nd", 3: "rd"}
    is_teen = place % 100 in (11, 12, 13)
    return f"{place:,}{'th' if is_teen else ends.get(place % 10, 'th')}"


def listed(parts: Sequence[str]) -> str:
    """Join parts of a sentence.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last
