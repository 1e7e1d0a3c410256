"""The texts that the text tower is fitted to, and those it is measured on.

Fitted to: captions, pieces of captions, names, words, and phrases made of words at random or by
templates of microscopy. Measured on: captions of photographs whose captions were held back, names,
and sentences of `HELD_BACK`, of which no template knows anything.
"""

from __future__ import annotations

import csv
import json
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .vocabulary import read_concepts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

# Photographs whose number leaves no remainder are held back with all their captions.
_HELD_BACK_ONE_IN = 5
_SPANS, _RANDOM, _SPECIMENS = 16_000, 26_000, 16_000
_LONGEST_SPAN = 7

_JOINS = (
    "{} {}",
    "{} {} {}",
    "a {} {}",
    "{} of {}",
    "{} and {}",
    "a {} with {}",
    "the {} in the {}",
    "a photo of a {} and a {}",
    "{} on a {} near the {}",
    "this is a {} {}",
    "there is a {} next to the {} {}",
)

_TISSUES_TEXT = (
    "liver kidney lung brain skin muscle bone colon breast prostate spleen thymus retina cornea "
    "heart pancreas stomach intestine ovary testis placenta tonsil cerebellum hippocampus cortex "
    "cartilage tendon nerve artery vein leaf root stem petal seed wood biopsy embryo larva "
    "zebrafish mouse rat human plant yeast organoid spheroid tumor"
)
_TISSUES = _TISSUES_TEXT.split()
_CELLS_TEXT = (
    "red blood cell;white blood cell;platelet;neutrophil;lymphocyte;monocyte;eosinophil;basophil;"
    "macrophage;mast cell;plasma cell;T cell;B cell;dendritic cell;stem cell;neuron;astrocyte;"
    "microglia;oligodendrocyte;fibroblast;myocyte;cardiomyocyte;hepatocyte;adipocyte;osteocyte;"
    "chondrocyte;epithelial cell;endothelial cell;goblet cell;keratinocyte;melanocyte;oocyte;"
    "sperm cell;HeLa cell;cancer cell;apoptotic cell;dividing cell;mitotic cell;bacterium;"
    "bacteria;yeast cell;alga;diatom;amoeba;parasite;trypanosome;malaria parasite;fungal hypha;"
    "spore;pollen grain;guard cell;stoma;plant cell;germ cell;Purkinje cell;pyramidal neuron;"
    "erythrocyte;leukocyte;thrombocyte;megakaryocyte;reticulocyte;blast cell;ganglion cell;"
    "photoreceptor;rod;cone;hair cell;muscle fiber;nerve fiber;collagen fiber;blood vessel;"
    "capillary;gland;crypt;villus;follicle;tubule;glomerulus;alveolus;duct;lumen;colony;biofilm;"
    "cell debris;air bubble;dust particle;crystal;nanoparticle;grain boundary;void;crack;fiber"
)
_CELLS = _CELLS_TEXT.split(";")
_PARTS_TEXT = (
    "nucleus;nuclei;nucleolus;cytoplasm;cell membrane;cell wall;mitochondria;mitochondrion;"
    "endoplasmic reticulum;Golgi apparatus;lysosome;vesicle;vacuole;chloroplast;ribosome;"
    "centrosome;microtubules;actin filaments;chromosome;chromatin;spindle;axon;dendrite;synapse;"
    "dendritic spine;cilium;flagellum;microvilli;lipid droplet;granule;inclusion body;"
    "basement membrane;extracellular matrix;stroma;focal adhesion;tight junction;pseudopod;"
    "lamellipodium;filopodium;stress fiber;nuclear envelope;metaphase plate;telomere;plasmid"
)
_PARTS = _PARTS_TEXT.split(";")
_LOOKS_TEXT = (
    "round oval elongated irregular small large tiny dark pale bright purple pink blue brown red "
    "green gray yellow granular smooth dense sparse clustered overlapping isolated swollen "
    "shrunken branched spindle-shaped star-shaped lobed multinucleated fluorescent stained "
    "unstained blurred out-of-focus translucent refractile"
)
_LOOKS = _LOOKS_TEXT.split()
_METHODS_TEXT = (
    "hematoxylin and eosin;H&E;Giemsa;Wright;Gram;DAPI;GFP;Hoechst;phalloidin;Nissl;Golgi;PAS;"
    "toluidine blue;trichrome;immunofluorescence;immunohistochemistry;crystal violet;safranin;"
    "propidium iodide;mCherry;alkaline phosphatase;silver;oil red O;Papanicolaou"
)
_METHODS = _METHODS_TEXT.split(";")
_SCOPES_TEXT = (
    "bright field;phase contrast;confocal;fluorescence;light sheet;two photon;"
    "electron;scanning electron;transmission electron;super-resolution;"
    "differential interference contrast;dark field;polarized light;atomic force"
)
_SCOPES = _SCOPES_TEXT.split(";")
_SPECIMEN_FORMS = (
    "{cell}",
    "{look} {cell}",
    "a {look} {cell}",
    "{look} {part}",
    "a {cell} with a {look} {part}",
    "a {look} {cell} with {look2} {part}",
    "{cell} in {tissue} tissue",
    "a section of {tissue} stained with {method}",
    "{method} staining of {tissue}",
    "{scope} microscopy image of a {cell}",
    "{scope} micrograph of {tissue} {part}",
    "the {part} of a {cell}",
    "{look} {part} of the {cell}",
    "a cluster of {look} {cell}s",
    "several {cell}s in a blood smear",
    "{part} labeled with {method}",
    "many {look} spots on a {look2} background",
    "a {cell} next to a {cell2}",
    "a {cell} undergoing division",
    "no {cell}, only background",
)

HELD_BACK = (
    "a lymphocyte surrounded by red blood cells",
    "a neutrophil whose nucleus has three lobes",
    "small purple platelets between the erythrocytes",
    "an erythrocyte infected with the ring stage of malaria",
    "sickle shaped red cells in a smear",
    "a monocyte with a kidney shaped nucleus",
    "an eosinophil full of orange granules",
    "giant platelet touching a red cell",
    "two daughter cells just after cytokinesis",
    "chromosomes lined up in metaphase",
    "nuclei stained blue with DAPI",
    "actin stress fibers running in parallel",
    "mitochondria form a network around the nucleus",
    "a neuron with long branching dendrites",
    "axons crossing the white matter",
    "Purkinje cells at the border of the granular layer",
    "astrocytes with star shaped processes",
    "an empty well without cells",
    "dead cells floating in the medium",
    "a confluent layer of epithelial cells",
    "spindle shaped fibroblasts growing on glass",
    "bacteria arranged in chains",
    "rod shaped bacteria stained pink",
    "purple cocci in clusters",
    "budding yeast",
    "a fungal hypha growing into the tissue",
    "pollen grains covered with spines",
    "stomata on the underside of a leaf",
    "chloroplasts along the cell walls",
    "onion skin under the microscope",
    "a diatom with a patterned shell",
    "an amoeba extending a pseudopod",
    "a glomerulus in the kidney cortex",
    "renal tubules cut across",
    "alveoli with thin walls",
    "crypts of the colon lined by goblet cells",
    "a hair follicle in the dermis",
    "fat cells with a thin rim of cytoplasm",
    "striated muscle cut lengthwise",
    "cartilage with chondrocytes in lacunae",
    "an artery with a thick muscular wall",
    "a vein filled with blood",
    "tumor cells invading the stroma",
    "tissue with necrosis in the middle",
    "an area of inflammation with many leukocytes",
    "a mitotic figure in the carcinoma",
    "brown membrane staining for HER2",
    "section of mouse brain with the hippocampus",
    "the retina with its layers of photoreceptors",
    "a drusen in the macula",
    "the optic disc and its vessels",
    "a microaneurysm in a diabetic eye",
    "zebrafish embryo at one day",
    "a worm with fluorescent muscles",
    "fly wing with bristles",
    "organoid with a hollow lumen",
    "an air bubble in the mounting medium",
    "dust on the slide",
    "a fold in the section",
    "edge of the coverslip",
    "grain boundaries in polished steel",
    "a crack running through the ceramic",
    "pores in a membrane seen by electron microscopy",
    "gold nanoparticles on a grid",
    "collagen fibers imaged by second harmonic generation",
    "lipid droplets in hepatocytes",
    "vesicles docked at the synapse",
    "endoplasmic reticulum studded with ribosomes",
    "a virus particle budding from the membrane",
    "debris without any structure",
    "bright spots on a dark background",
    "thin lines crossing a gray area",
    "wing of an insect",
    "salt crystals",
    "a scratch on the lens",
    "unknown object",
    "blurred region",
    "plasma cell with an eccentric nucleus",
    "macrophage with engulfed particles",
    "osteocytes in compact bone",
)
"""Plain sentences of microscopy, to measure on; nothing is fitted to them."""


class Texts(NamedTuple):
    """Texts to fit to, each once, and by name those to measure on."""

    fit: list[str]
    held_back: dict[str, list[str]]


def read_texts(data: Path, pieces: Sequence[str], seed: int = 0) -> Texts:
    """Read and make all texts.

    Parameters
    ----------
    data : Path
        The data folder, with ``text`` and ``vocab``.
    pieces : sequence of str
        Word pieces of the sentence encoder; those that are words are fitted to one by one.
    seed : int
        Of what is drawn at random.

    Returns
    -------
    Texts
        None of those held back is among those to fit to.
    """
    generator = np.random.default_rng(seed)
    captions, held = _captions(data / "text" / "coco_captions_val2017.json")
    names = _names(data / "vocab")
    order = generator.permutation(len(names))
    apart = {names[place] for place in order[:300] if " " in names[place]}
    words = [piece for piece in pieces if piece.isascii() and piece.isalnum()]
    held_back = {
        "captions": held,
        "names": sorted(apart),
        "words": _words_of(held, generator),
        "microscopy": list(HELD_BACK),
    }
    left_out = {text.lower() for kind in ("captions", "names", "microscopy") for text in
                held_back[kind]}  # fmt: skip
    made = [
        *captions,
        *words,
        *(name for name in names if name not in apart),
        *_CELLS,
        *_PARTS,
        *_spans(captions, generator),
        *_phrases(words, names, generator),
        *_specimens(generator),
    ]
    fit = [text for text in dict.fromkeys(made) if text.lower() not in left_out]
    return Texts(fit, held_back)


def _captions(path: Path) -> tuple[list[str], list[str]]:
    """Captions to fit to, and those of the photographs held back."""
    kept: tuple[list[str], list[str]] = ([], [])
    for entry in json.loads(path.read_text(encoding="utf-8"))["annotations"]:
        held = entry["image_id"] % _HELD_BACK_ONE_IN == 0
        kept[held].append(" ".join(entry["caption"].split()))
    return list(dict.fromkeys(kept[0])), list(dict.fromkeys(kept[1]))


def _names(folder: Path) -> list[str]:
    """Names of things, attributes and classes from lists, sorted."""
    lists = json.loads((folder / "VG-SGG-dicts-vgoi6-clipped.json").read_text("utf8"))
    found = {*lists["label_to_idx"], *lists["attribute_to_idx"], *lists["predicate_to_idx"]}
    found |= set(json.loads((folder / "vgcocooiobjects_v1_class2ind.json").read_text("utf8")))
    found |= set(json.loads((folder / "coco_categories.json").read_text("utf8")))
    with (folder / "oidv7-class-descriptions-boxable.csv").open(encoding="utf-8") as file:
        found |= {row["DisplayName"].lower() for row in csv.DictReader(file)}
    for concept in read_concepts():
        found |= {concept.name, concept.plural, *concept.synonyms}
    return sorted(found)


def _words_of(captions: Iterable[str], generator: np.random.Generator) -> list[str]:
    words = sorted({word.strip(".,!").lower() for text in captions for word in text.split()})
    words = [word for word in words if len(word) > 2 and word.isalpha()]
    return [words[place] for place in generator.permutation(len(words))[:1000]]


def _spans(captions: Sequence[str], generator: np.random.Generator) -> Iterator[str]:
    """Cut a few words out of captions."""
    for place in generator.integers(len(captions), size=_SPANS):
        words = captions[place].rstrip(" .").split()
        length = int(generator.integers(2, _LONGEST_SPAN + 1))
        start = int(generator.integers(max(1, len(words) - length + 1)))
        yield " ".join(words[start : start + length])


def _phrases(
    words: Sequence[str], names: Sequence[str], generator: np.random.Generator
) -> Iterator[str]:
    """Join words and names drawn at random."""
    long = [word for word in words if len(word) > 2 and word.isalpha()]
    for _ in range(_RANDOM):
        form = _JOINS[generator.integers(len(_JOINS))]
        pools = [(long, names)[int(generator.random() < 0.4)] for _ in range(form.count("{}"))]
        yield form.format(*(pool[generator.integers(len(pool))] for pool in pools))


def _specimens(generator: np.random.Generator) -> Iterator[str]:
    """Phrases of microscopy."""
    lists = {
        "cell": _CELLS,
        "cell2": _CELLS,
        "part": _PARTS,
        "look": _LOOKS,
        "look2": _LOOKS,
        "tissue": _TISSUES,
        "method": _METHODS,
        "scope": _SCOPES,
    }
    yield from (f"{tissue} {cell}" for tissue, cell in product(_TISSUES[:12], _CELLS[:40:3]))
    for _ in range(_SPECIMENS):
        form = _SPECIMEN_FORMS[generator.integers(len(_SPECIMEN_FORMS))]
        yield form.format(
            **{name: items[generator.integers(len(items))] for name, items in lists.items()}
        )
