"""What a teacher says of images, and its store on disk: each image is shown to a teacher once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Features:
    """Outputs of one teacher for N images.

    Attributes:
        embeddings: [N, D] float32, what goes into the classifier.
        logits: [N, K] float32, what comes out of it; K = 0 for a teacher without a classifier.
    """

    embeddings: NDArray[np.float32]
    logits: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 2 or self.logits.ndim != 2:
            raise ValueError("embeddings are [N, D] and logits [N, K]")
        if len(self.embeddings) != len(self.logits):
            raise ValueError(f"{len(self.embeddings)} embeddings, {len(self.logits)} logits")

    def __len__(self) -> int:
        return len(self.embeddings)

    def rows(self, index: NDArray[np.int64]) -> Features:
        """The outputs for some of the images, in the order of `index`."""
        return Features(embeddings=self.embeddings[index], logits=self.logits[index])
