"""The sub-commands of ``lexicon``: what is in one, and changing it without images."""

from __future__ import annotations

import argparse
from collections import Counter
from functools import reduce
from pathlib import Path

from napari_patchioner.errors import FormatError, counted

from .shared import check_folder, say
from .teach import say_renamed, summary


def add_lexicon(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands of ``lexicon``."""
    commands = parser.add_subparsers(metavar="WHAT", required=True)
    info = commands.add_parser("info", help="names, examples, and how well they are told apart")
    forget = commands.add_parser("forget", help="delete a name, or single examples")
    rename = commands.add_parser("rename", help="give a name another wording, or join two names")
    for command in (info, forget, rename):
        command.add_argument("lexicon", type=Path, metavar="LEXICON", help="its folder")
    info.add_argument(
        "--examples",
        action="store_true",
        help="list every example, and all that is taken for another",
    )
    info.set_defaults(run=_info)
    merge = commands.add_parser("merge", help="write several lexicons of one model as one")
    merge.add_argument("lexicons", nargs="+", type=Path, metavar="LEXICON", help="their folders")
    merge.add_argument("--out", required=True, type=Path, metavar="LEXICON", help="folder to write")
    merge.set_defaults(run=_merge)
    for field, text in (
        ("name", "name whose examples are deleted; may be repeated"),
        ("image", "only examples of this image, or of any of these"),
        ("uid", "only the example of this uid, or of any of these"),
    ):
        forget.add_argument(f"--{field}", action="append", metavar=field.upper(), help=text)
    forget.set_defaults(run=_forget)
    rename.add_argument("old", metavar="OLD", help="name that is there")
    rename.add_argument("new", metavar="NEW", help="name to put in its place")
    rename.set_defaults(run=_rename)


def _info(arguments: argparse.Namespace, _: object) -> None:
    """Print what is in a lexicon."""
    from napari_patchioner.teaching import read_lexicon

    lexicon = read_lexicon(arguments.lexicon)
    facts = [
        ("backbone", lexicon.origin.backbone),
        ("pooling", lexicon.origin.pooling),
        ("images", str(len(lexicon.images))),
        ("rule", lexicon.classifier.rule),
        ("digest", lexicon.digest),
    ]
    print("\n".join(f"{name:<9} {text}" for name, text in facts) + "\n")
    print(summary(lexicon, arguments.lexicon, whole=arguments.examples))
    if arguments.examples:
        print()
        # Images of one name are told apart by their content.
        alike = Counter(image.name for image in lexicon.images)
        for example in lexicon.examples:
            content = f", {example.content[:8]}" if alike[example.image] > 1 else ""
            print(f"{example.name}: {example.image or 'any image'}{content}, {example.uid}")


def _merge(arguments: argparse.Namespace, _: object) -> None:
    """Write the union of lexicons."""
    from napari_patchioner.teaching import Lexicon, read_lexicon, write_lexicon

    check_folder(arguments.out.absolute().parent)
    if arguments.out.exists():  # also where it is one of these: names that lose are lost there
        raise FormatError(f"{arguments.out}: is there; choose another name")
    lexicons = [read_lexicon(folder) for folder in arguments.lexicons]
    merged = reduce(Lexicon.merged, lexicons)
    write_lexicon(arguments.out, merged)
    print(summary(merged, arguments.out))
    say_renamed(lexicons, merged)
    names = counted(merged.counts, "name")
    say(f"{arguments.out}: {counted(merged, 'example')} of {names}")


def _forget(arguments: argparse.Namespace, _: object) -> None:
    """Delete examples."""
    from napari_patchioner.teaching import read_lexicon, write_lexicon

    wanted = {k: v for k in ("name", "image", "uid") if (v := getattr(arguments, k)) is not None}
    if not wanted:
        raise FormatError("name what to forget with --name, --image or --uid")
    lexicon = read_lexicon(arguments.lexicon)
    matches = [
        all(getattr(example, field) in texts for field, texts in wanted.items())
        for example in lexicon.examples
    ]
    for field, texts in wanted.items():
        known = {getattr(example, field) for example in lexicon.examples}
        for text in texts:
            if text not in known:
                raise FormatError(f"{arguments.lexicon}: holds no example with {field} {text!r}")
    if not any(matches):
        fields = " and ".join(wanted)
        raise FormatError(f"{arguments.lexicon}: holds no example with all of these: {fields}")
    if all(matches):
        raise FormatError(f"{arguments.lexicon}: holds nothing else; delete the folder instead")
    forgotten = {e.key for e, match in zip(lexicon.examples, matches, strict=True) if match}
    left = lexicon.kept(lambda example: example.key not in forgotten)
    write_lexicon(arguments.lexicon, left)
    say(f"{counted(forgotten, 'example')} forgotten, {len(left):,} left")


def _rename(arguments: argparse.Namespace, _: object) -> None:
    """Give a name another wording."""
    from napari_patchioner.teaching import read_lexicon, write_lexicon

    lexicon = read_lexicon(arguments.lexicon)
    if arguments.old not in lexicon.counts:
        raise FormatError(f"{arguments.lexicon}: holds no name {arguments.old!r}")
    renamed = lexicon.renamed(arguments.old, arguments.new)
    write_lexicon(arguments.lexicon, renamed)
    count = lexicon.counts[arguments.old]
    are = "is" if count == 1 else "are"
    grown = (name for name, now in renamed.counts.items() if now != lexicon.counts.get(name))
    new = next(grown, arguments.new)
    joined = f", as {lexicon.counts[new]:,} were before" if new in lexicon.counts else ""
    say(f"{counted(count, 'example')} {are} {new!r} now{joined}")
