"""What the captioner asks of a decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from ._caption import Caption, Evidence
    from ._wishes import Wishes


class Decoder(Protocol):
    """Writes captions from vectors."""

    def decode(
        self,
        vectors: npt.NDArray[np.float32],
        *,
        max_tokens: int = 30,
        beams: int = 1,
        alternatives: int = 0,
        evidence: Sequence[Evidence] | None = None,
        wishes: Wishes | None = None,
    ) -> list[Caption]:
        """Write one caption per row of ``vectors``, shape (n, d), all rows together.

        Parameters
        ----------
        vectors : ndarray of float32, shape (n, d)
            What a bridge made of the pooled embeddings.
        max_tokens : int
            Longest caption in tokens, the end token included.
        beams : int
            Sentences followed side by side; 1 takes the likeliest token each time.
        alternatives : int
            How many other captions to give, as far as there are any; needs ``beams`` > 1.
        evidence : sequence of Evidence, optional
            What was seen in each region, for decoders that write nothing else.
        wishes : Wishes, optional
            How captions shall be written; nothing is wished by default. A caption without the
            words that must be there says so in its ``problem``.
        """
