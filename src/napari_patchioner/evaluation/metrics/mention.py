"""Words by which a caption may name a category: facts about English, lenient on purpose.

Singular forms; plurals are added by rule or from ``IRREGULAR``. A phrase belongs to the
categories that list it and hides the shorter phrases inside it: a "hot dog" is no dog.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PERSON = (
    "person|man|woman|boy|girl|child|kid|baby|toddler|infant|guy|lady|gentleman|someone|human"
    "|adult|teenager|people|crowd|couple|family|group of people|player|baseball player"
    "|tennis player|soccer player|football player|basketball player|batter|pitcher|catcher|umpire"
    "|skier|snowboarder|surfer|skateboarder|swimmer|diver|rider|cyclist|biker|motorcyclist|runner"
    "|gymnast|athlete|worker|soldier|graduate|groom|bride|chef|cook|waiter|policeman|officer"
    "|firefighter|driver|pedestrian|passenger|spectator|audience|team"
)

THINGS: dict[str, str] = {
    "person": PERSON,
    "bicycle": "bicycle|bike|mountain bike|cyclist|tandem",
    "car": "car|taxi|cab|vehicle|suv|van|minivan|sedan|jeep|convertible|limousine|sports car"
    "|race car|police car|traffic|automobile",
    "motorcycle": "motorcycle|motorbike|bike|scooter|motor scooter|moped",
    "airplane": "airplane|plane|jet|aircraft|airliner|aeroplane|biplane|fighter jet",
    "bus": "bus|school bus|double decker|coach|minibus",
    "train": "train|subway|locomotive|tram|trolley|streetcar|train car|steam train|passenger train"
    "|freight train",
    "truck": "truck|pickup|pickup truck|van|lorry|firetruck|fire truck|fire engine|tow truck"
    "|garbage truck|trailer|dump truck|semi",
    "boat": "boat|ship|sailboat|canoe|kayak|raft|ferry|yacht|speedboat|gondola|rowboat|vessel",
    "traffic light": "traffic light|stoplight|stop light|traffic signal|signal|street light",
    "fire hydrant": "fire hydrant|hydrant|fireplug",
    "stop sign": "stop sign|sign|street sign|road sign|traffic sign",
    "parking meter": "parking meter|meter",
    "bench": "bench|park bench|pew",
    "bird": "bird|duck|goose|seagull|gull|eagle|hawk|owl|parrot|pelican|heron|swan|chicken|hen"
    "|rooster|pigeon|penguin|crow|flamingo|peacock|ostrich|stork|crane|sparrow|turkey|duckling"
    "|cockatoo|finch|vulture|egret|macaw",
    "cat": "cat|kitten|tabby|kitty",
    "dog": "dog|puppy|hound|terrier|retriever|poodle|bulldog|sheepdog|collie|labrador|spaniel",
    "horse": "horse|pony|foal|mare|stallion|donkey|mule",
    "sheep": "sheep|lamb|goat|ram|ewe",
    "cow": "cow|bull|cattle|ox|buffalo|bison|calf|steer|longhorn",
    "elephant": "elephant",
    "bear": "bear|polar bear|brown bear|black bear|grizzly|cub|panda",
    "zebra": "zebra",
    "giraffe": "giraffe",
    "backpack": "backpack|rucksack|bag",
    "umbrella": "umbrella|parasol",
    "handbag": "handbag|purse|bag|tote",
    "tie": "tie|necktie|bow tie|bowtie|suit|suit and tie",
    "suitcase": "suitcase|luggage|bag|baggage|briefcase|trunk",
    "frisbee": "frisbee|disc|disk",
    "skis": "ski|skier|skiing",
    "snowboard": "snowboard|snowboarder|snowboarding",
    "sports ball": "ball|tennis ball|soccer ball|basketball|football|baseball|volleyball"
    "|golf ball|rugby ball|softball",
    "kite": "kite|parachute",
    "baseball bat": "bat|baseball bat",
    "baseball glove": "glove|mitt|baseball glove|baseball mitt",
    "skateboard": "skateboard|skateboarder|skateboarding",
    "surfboard": "surfboard|surfer|surfing|paddleboard",
    "tennis racket": "racket|racquet|tennis racket|tennis racquet",
    "bottle": "bottle|wine bottle|beer bottle|water bottle|jar|flask",
    "wine glass": "wine glass|glass|wine|glass of wine|glass of beer|wineglass|goblet|champagne",
    "cup": "cup|mug|glass|coffee|tea|coffee mug|coffee cup|cup of coffee|cup of tea|teacup",
    "fork": "fork|cutlery|silverware",
    "knife": "knife|cutlery|silverware|blade",
    "spoon": "spoon|ladle|cutlery|silverware",
    "bowl": "bowl|bowl of food|mixing bowl|soup bowl",
    "banana": "banana|plantain",
    "apple": "apple",
    "sandwich": "sandwich|burger|hamburger|cheeseburger|sub|panini|toast|burrito|wrap",
    "orange": "orange|orange fruit|tangerine|mandarin|citrus",
    "broccoli": "broccoli|cauliflower",
    "carrot": "carrot",
    "hot dog": "hot dog|hotdog|sausage|chili dog",
    "pizza": "pizza",
    "donut": "donut|doughnut|pastry",
    "cake": "cake|cupcake|birthday cake|pastry|cheesecake",
    "chair": "chair|seat|stool|armchair|rocking chair|folding chair|recliner",
    "couch": "couch|sofa|loveseat|futon",
    "potted plant": "potted plant|plant|houseplant|house plant|flower|flower pot|planter|pot",
    "bed": "bed|bunk bed|crib|mattress",
    "dining table": "table|dining table|desk|kitchen table|coffee table|dinner table",
    "toilet": "toilet|toilet seat|urinal|toilet bowl",
    "tv": "tv|television|monitor|screen|tv screen|computer monitor|computer screen|television set",
    "laptop": "laptop|computer|laptop computer|notebook",
    "mouse": "mouse|computer mouse",
    "remote": "remote|remote control|controller|wii remote",
    "keyboard": "keyboard|computer keyboard",
    "cell phone": "phone|cellphone|cell phone|mobile phone|smartphone|telephone|iphone",
    "microwave": "microwave|microwave oven",
    "oven": "oven|stove|range|cooker|stove top|stovetop",
    "toaster": "toaster|toaster oven",
    "sink": "sink|washbasin|basin|bathroom sink|kitchen sink",
    "refrigerator": "refrigerator|fridge|freezer",
    "book": "book|bookshelf|bookcase|magazine|notebook",
    "clock": "clock|clock tower|wall clock|alarm clock",
    "vase": "vase|urn|vase of flowers",
    "scissors": "scissors|shears",
    "teddy bear": "teddy bear|teddy|stuffed animal|stuffed bear|stuffed toy|plush|toy bear",
    "hair drier": "hair dryer|hair drier|blow dryer|hairdryer|dryer|drier",
    "toothbrush": "toothbrush|tooth brush",
}

STUFF: dict[str, str] = {
    "banner": "banner|sign|poster|flag|billboard|advertisement",
    "blanket": "blanket|quilt|bedspread|bed|comforter|sheet",
    "bridge": "bridge|overpass|viaduct",
    "cardboard": "cardboard|box|carton|cardboard box",
    "counter": "counter|countertop|kitchen counter|table|kitchen",
    "curtain": "curtain|drape|shower curtain",
    "door": "door|doorway|gate|entrance",
    "wooden floor": "floor|wood floor|wooden floor|hardwood floor|flooring|hardwood",
    "flower": "flower|rose|tulip|blossom|bouquet|daisy|sunflower|vase of flowers",
    "fruit": "fruit|apple|orange fruit|orange|banana|grape|strawberry|lemon|pear|peach|berry",
    "gravel": "gravel|dirt|ground|rock|stone|road|path",
    "house": "house|building|home|cottage|barn|cabin|church|roof",
    "light": "light|lamp|chandelier|lantern|light fixture",
    "mirror": "mirror|reflection",
    "net": "net|netting|fence|mesh|tennis net",
    "pillow": "pillow|cushion|bed",
    "platform": "platform|train station|station|stage",
    "playing field": "field|court|grass|baseball field|tennis court|soccer field|stadium|pitch"
    "|grassy field|grassy area",
    "railroad": "railroad|railway|track|train track|railroad track|rail",
    "river": "river|water|stream|creek|lake|canal|pond",
    "road": "road|street|highway|pavement|sidewalk|traffic|asphalt|intersection|parking lot"
    "|city street|lane",
    "roof": "roof|rooftop|shingle",
    "sand": "sand|beach|sandy beach|dirt|shore|desert|sandy",
    "sea": "sea|ocean|water|wave|beach|shore|harbor",
    "shelf": "shelf|bookshelf|bookcase|rack",
    "snow": "snow|snowy|ski slope|slope|snowy mountain|snowy hill",
    "stairs": "stair|staircase|step|stairway",
    "tent": "tent|canopy|awning",
    "towel": "towel|cloth|washcloth",
    "brick wall": "wall|brick wall|brick|stone wall|stone",
    "stone wall": "wall|stone wall|brick wall|stone|rock",
    "tile wall": "wall|tiled wall|tile wall|tile|tiled",
    "wooden wall": "wall|wooden wall|wood|panel|wooden",
    "water": "water|lake|river|ocean|pool|pond|swimming pool|fountain|sea|puddle",
    "window blind": "window|blind|window blind|shade|curtain|shutter",
    "window": "window|glass|window blind|window pane",
    "tree": "tree|forest|bush|leaf|wood|plant|foliage|branch|shrub|palm|greenery|vegetation|jungle",
    "fence": "fence|gate|railing|chain link fence|wooden fence|barrier",
    "ceiling": "ceiling|roof|light",
    "sky": "sky|cloud|sunset|sunrise|cloudy|horizon",
    "cabinet": "cabinet|dresser|cupboard|shelf|drawer|wardrobe|closet|kitchen cabinet|bookshelf",
    "table": "table|desk|counter|tabletop|dining table|coffee table|countertop",
    "floor": "floor|carpet|rug|flooring|tile floor|ground|tiled floor",
    "pavement": "pavement|sidewalk|street|road|ground|path|walkway|concrete|brick",
    "mountain": "mountain|hill|mountainside|hillside|cliff|peak|snowy mountain|mountain range",
    "grass": "grass|field|lawn|grassy|meadow|pasture|grassy field|park|yard",
    "dirt": "dirt|ground|sand|mud|dirt road|soil|earth|dirt field|road|field|baseball field",
    "paper": "paper|page|book|newspaper|magazine|document|letter|note|poster",
    "food": "food|meal|dish|plate of food|bread|meat|vegetable|salad|soup|pasta|rice|cheese|sauce"
    "|plate|dessert|breakfast|lunch|dinner",
    "building": "building|house|church|tower|city|skyscraper|store|castle|palace|barn|cathedral"
    "|skyline|shop|roof|clock tower|temple|restaurant",
    "rock": "rock|cliff|stone|boulder|rocky|rocky cliff",
    "wall": "wall|brick wall|stone wall|tiled wall",
    "rug": "rug|carpet|mat|doormat|floor",
}

PANOPTIC: dict[str, str] = {
    "door-stuff": "door",
    "floor-wood": "wooden floor",
    "mirror-stuff": "mirror",
    "playingfield": "playing field",
    "wall-brick": "brick wall",
    "wall-stone": "stone wall",
    "wall-tile": "tile wall",
    "wall-wood": "wooden wall",
    "water-other": "water",
    "window-other": "window",
    "window-blind": "window blind",
    "sky-other-merged": "sky",
    "floor-other-merged": "floor",
    "building-other-merged": "building",
    "wall-other-merged": "wall",
    "food-other-merged": "food",
}
"""Panoptic names that are not their plain name plus "-merged"."""

NEUTRAL = (
    "train station|bus stop|parking lot|car wheel|car mirror|airplane wing|horse cart|cow bell"
    "|birdcage|bird cage|clock radio|book jacket|boat house|dog sled|toilet paper|paper towel"
    "|table lamp|tablecloth|table cloth|bed sheet|chair lift|cup holder|knife block|glass jar"
    "|baseball cap|baseball hat|football helmet|tennis shoe|orange juice|apple pie|carrot cake"
    "|couple of|pizza box|pizza cutter|cat food|dog food|phone booth|sky blue|plant pot"
    "|bottle opener|traffic cone|street lamp|water tower|punching bag|sleeping bag"
    "|aircraft carrier|plane tool|red panda|swim trunks|disc brake|ski mask|ski lift|bottle cap"
    "|magnifying glass|coffee maker|coffee pot|seat belt|pencil box|tool box|plate rack"
    "|solar panel|sea urchin|sea cucumber|sea anemone|lawn mower|skate park|mosquito net"
    "|drilling platform|stained glass|glass door"
)
"""Compounds that name none of the categories inside them."""

IRREGULAR: dict[str, str] = {
    "man": "men",
    "woman": "women",
    "child": "children",
    "person": "persons",
    "policeman": "policemen",
    "gentleman": "gentlemen",
    "knife": "knives",
    "leaf": "leaves",
    "loaf": "loaves",
    "shelf": "shelves",
    "bookshelf": "bookshelves",
    "calf": "calves",
    "goose": "geese",
    "mouse": "mice",
    "ox": "oxen",
    "scissors": "scissors",
    "foot": "feet",
}


_BREAK_WORDS = (
    "on in at with and or next near by behind under over above beside inside outside against to "
    "from that which who is are was has have wearing holding front around between across into "
    "through along for beneath below during while as"
)
_NOUNS_IN_ING = (
    "building ceiling railing awning painting clothing ring string king wing thing swing dining "
    "living parking icing topping dressing wedding evening morning spring something anything "
    "nothing duckling flooring netting mixing rocking folding running"
)
_COLOURS = "black white gray grey red yellow green blue purple pink brown"
BREAKS = frozenset(_BREAK_WORDS.split())
NOUNS_IN_ING = frozenset(_NOUNS_IN_ING.split())
COLOURS = frozenset(_COLOURS.split())
KNOWN = frozenset(THINGS) | frozenset(STUFF)


def plain_name(category: str) -> str:
    """Everyday name of a COCO panoptic category.

    Examples
    --------
    >>> plain_name("sky-other-merged"), plain_name("tree-merged"), plain_name("dog")
    ('sky', 'tree', 'dog')
    """
    return PANOPTIC.get(category, category.removesuffix("-merged"))


def plural(phrase: str) -> str:
    """Plural of a noun phrase, by rule: the last word takes the ending.

    Examples
    --------
    >>> plural("bus"), plural("wine glass"), plural("puppy"), plural("knife"), plural("sheep")
    ('buses', 'wine glasses', 'puppies', 'knives', 'sheeps')
    """
    start, _, word = phrase.rpartition(" ")
    if word in IRREGULAR:
        word = IRREGULAR[word]
    elif re.search(r"(s|x|z|ch|sh)$", word):
        word += "es"
    elif re.search(r"[^aeiou]y$", word):
        word = word[:-1] + "ies"
    else:
        word += "s"
    return f"{start} {word}" if start else word


def words(caption: str) -> list[str]:
    """Lower-case words of a caption; hyphens and punctuation separate.

    Examples
    --------
    >>> words("Not sure: maybe a wine-glass.")
    ['not', 'sure', 'maybe', 'a', 'wine', 'glass']
    """
    return re.findall(r"[a-z0-9]+", caption.lower().replace("'s", ""))


def named(caption: str) -> list[frozenset[str]]:
    """Categories named by each phrase of the caption, in order; the longest phrase wins.

    Examples
    --------
    >>> [sorted(found) for found in named("a hot dog next to a cat")]
    [['hot dog'], ['cat']]
    """
    return _named(words(caption))


def mentions(caption: str, category: str) -> bool:
    """Whether the caption names the category anywhere, by whole words.

    Examples
    --------
    >>> mentions("two puppies on a beach", "dog"), mentions("two puppies on a beach", "sand")
    (True, True)
    >>> mentions("a hot dog", "dog"), mentions("an orange cat", "orange")
    (False, False)
    """
    return _names(words(caption), plain_name(category))


def head_mentions(caption: str, category: str) -> bool:
    """Whether the caption says that the region *is* the category: its first named thing only.

    The caption is read up to its first preposition, conjunction or verb; "of" reads on, so "a
    slice of pizza" is pizza.

    Examples
    --------
    >>> head_mentions("a person riding a horse", "horse")
    False
    >>> head_mentions("a slice of pizza on a plate", "pizza")
    True
    """
    return _names(_head(words(caption)), plain_name(category))


def _names(tokens: list[str], category: str) -> bool:
    if category not in KNOWN:
        return f" {' '.join(words(category))} " in f" {' '.join(tokens)} "
    return any(category in results for results in _named(tokens))


def _head(tokens: list[str]) -> list[str]:
    """Words before the first one that ends a noun phrase."""
    for position, word in enumerate(tokens):
        is_verb = word.endswith("ing") and word not in NOUNS_IN_ING
        if position and (word in BREAKS or is_verb):
            return tokens[:position]
    return tokens


def _named(tokens: list[str]) -> list[frozenset[str]]:
    table, longest = _phrases()
    results: list[frozenset[str]] = []
    position = 0
    while position < len(tokens):
        for length in range(longest, 0, -1):
            phrase = " ".join(tokens[position : position + length])
            owners = table.get(phrase)
            if owners is not None and not _is_colour(phrase, tokens[position + length :]):
                results.append(owners)
                position += length - 1
                break
        position += 1
    return [owners for owners in results if owners]


def _is_colour(phrase: str, following: Sequence[str]) -> bool:
    """``orange`` before a word that a fruit would not stand before is a colour."""
    if phrase != "orange" or not following or following[0] in {"slice", "slices"}:
        return False
    pair_of_colours = following[0] == "and" and following[1:2] and following[1] in COLOURS
    return bool(pair_of_colours) or following[0] not in BREAKS


@cache
def _phrases() -> tuple[dict[str, frozenset[str]], int]:
    """Every phrase with the categories it names, and the most words a phrase has."""
    table: dict[str, set[str]] = {}
    for category, listed in (*THINGS.items(), *STUFF.items(), ("", NEUTRAL)):
        for phrase in listed.split("|"):
            for form in (phrase, plural(phrase)):
                table.setdefault(form, set()).update({category} - {""})
    longest = max(len(phrase.split()) for phrase in table)
    return {phrase: frozenset(owners) for phrase, owners in table.items()}, longest
