"""A vision-language model on a server: what it says of a region, streamed."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from .client import (
    CUT_OFF,
    LIMITS,
    CutOff,
    Limits,
    ServerError,
    list_models,
    picture_part,
    stream_chat,
    text_part,
)
from .endpoint import Endpoint
from .picture import RegionPicture
from .prompt import ASK, DESCRIBE, fill

MOST_TOKENS = 400
"""Tokens of the longest answer, unless somebody has set another number."""
LONGEST_ANSWER = 20_000
"""Letters of an answer after which the connection is closed: nobody asked for a book."""
NOT_SAID = "The server said nothing of it."
"""What is said of an answer that is empty."""
# What some models think before they answer.
_MARKS = ("<think>", "</think>")
_THOUGHTS = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Server:
    """A model on a server, and how it is asked.

    Attributes
    ----------
    endpoint : Endpoint
        Where it is.
    model : str
        Its name there; where it is empty, the one model that the server has.
    prompt : str
        Template of what is asked of a region, see `fill`.
    limits : Limits
        What one answer may take.
    most_tokens : int
        Longest answer, unless another one is given.

    Examples
    --------
    >>> from napari_patchioner.describers import Endpoint, Server, region_picture
    >>> server = Server(Endpoint("http://127.0.0.1:11434/v1"), "llava:13b")
    >>> answer = "".join(server.stream(region_picture(image, box)))  # doctest: +SKIP
    """

    endpoint: Endpoint
    model: str = ""
    prompt: str = DESCRIBE
    limits: Limits = field(default=LIMITS, repr=False)
    most_tokens: int = MOST_TOKENS

    def named(self) -> Server:
        """Return it with the name of its model, which is asked for where nobody has given it.

        A `ServerError` where the server has none or several to choose from.
        """
        if self.model:
            return self
        names = list_models(self.endpoint)
        if len(names) == 1:
            return replace(self, model=names[0])
        listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        raise ServerError(
            f"{self.endpoint.name} has {listed or 'no model'}; "
            + ("name the one to ask." if names else "load one there that reads pictures.")
        )

    def stream(
        self,
        picture: RegionPicture,
        fields: Mapping[str, str] | None = None,
        *,
        question: str = "",
        most_tokens: int = 0,
    ) -> Generator[str, None, None]:
        """Yield the pieces of what it says of a region as they come, as `stream_chat` does.

        Parameters
        ----------
        picture : RegionPicture
            What it sees, see `region_picture`.
        fields : mapping of str to str, optional
            What stands for the fields of the prompt.
        question : str
            A free question in place of the prompt, taken as it is.
        most_tokens : int
            Longest answer; 0 is its own.
        """
        asked = self.asked(fields, question)
        content = [text_part(asked), picture_part(picture.url)]
        # Closed with this generator.
        with closing(
            stream_chat(
                self.endpoint,
                self.model,
                content,
                most_tokens=most_tokens or self.most_tokens,
                limits=self.limits,
            )
        ) as pieces:
            taken = 0
            for piece in pieces:
                taken += len(piece)
                if taken > LONGEST_ANSWER:
                    raise ServerError(
                        f"{self.endpoint.name} was stopped after {LONGEST_ANSWER:,} letters, which "
                        "is no answer; ask another model, or for less."
                    )
                yield piece

    def asked(self, fields: Mapping[str, str] | None = None, question: str = "") -> str:
        """Return the words that it is asked; a ModelError where the prompt makes no sense."""
        if question:
            return fill(ASK, {"question": question})
        known = {"caption": "", "layer": "", "image": "", "size": ""}
        return fill(self.prompt, {**known, **(fields or {})})

    def origin(self, question: str = "") -> dict[str, Any]:
        """Return what an answer is made from, as plain values, without the key."""
        about = {"question": question} if question else {"prompt": self.prompt}
        return {"server": {"host": self.endpoint.name, "model": self.model, **about}}


def cut_off_sentence(name: str, most_tokens: int, advice: str) -> str:
    """Say that an answer of a model is cut off, and what to do."""
    return f"The answer of {name} is cut off after {most_tokens} tokens: {advice}."


def is_cut_off(piece: str) -> bool:
    """Whether a piece of an answer says that the rest of it is left out."""
    return isinstance(piece, CutOff)


def without_thoughts(pieces: Iterable[str]) -> Iterator[str]:
    r"""Yield the pieces of an answer as they come, but for what the model thinks before it.

    >>> list(without_thoughts(["<th", "ink>Hm.", "</think>\n", "A red", " bus."]))
    ['A red', ' bus.']
    """
    held, thinks, begun = "", False, False
    for piece in pieces:
        held += piece
        while (start := held.find(mark := _MARKS[thinks])) >= 0:
            said, held = held[:start], held[start + len(mark) :]
            if not thinks and (said := said if begun else said.lstrip()):
                begun = True
                yield said
            thinks = not thinks
        # The beginning of a mark may be gone on with.
        kept = next((n for n in range(len(mark) - 1, 0, -1) if held.endswith(mark[:n])), 0)
        said, held = held[: len(held) - kept], held[len(held) - kept :]
        if not thinks and (said := said if begun else said.lstrip()):
            begun = True
            yield said
    if held and not thinks:
        yield held


def cleaned_answer(text: str) -> str:
    r"""Return an answer as a caption: on one line, without what the model thought before.

    >>> cleaned_answer("<think>Hm.</think>\n\nA red  bus.\n")
    'A red bus.'
    >>> cleaned_answer("A red bus in a …")
    'A red bus in a…'
    """
    plain = " ".join(_THOUGHTS.sub("", text).split())
    if plain.endswith(f" {CUT_OFF}"):
        plain = plain[:-2] + CUT_OFF
    return "".join(sign for sign in plain if sign.isprintable())
