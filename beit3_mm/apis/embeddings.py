# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Embeddings of predictions as arrays in one file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from beit3_mm.apis.predictions import Prediction


def stack_embeddings(
    predictions: Sequence[Prediction],
) -> dict[str, np.ndarray]:
    """Puts the embeddings of predictions into arrays.

    Args:
        predictions: Of one call.

    Returns:
        Those of these that the task gives: `image` (B, D), `text` (T, D),
        `fused` (B, D'), float32, and `similarities` (B, T), cosines; then
        `images`, the names of the images (B,), or (B, 2) of pairs, and
        `texts` (T,); the texts of `fused` are B.

    Raises:
        ValueError: If the task gives none.
    """
    rows: dict[str, list[np.ndarray]] = {}
    for prediction in predictions:
        for kind, row in prediction.embeddings.items():
            rows.setdefault(kind, []).append(row)
    if not rows:
        kinds = sorted({type(x).__name__ for x in predictions})
        raise ValueError(f'there are no embeddings in predictions of {kinds}')
    arrays = {kind: np.stack(values) for kind, values in rows.items()}
    images = [
        [image.name for image in prediction.images]
        for prediction in predictions
        if prediction.images
    ]
    if images:
        names = np.array(images)
        arrays['images'] = names[:, 0] if names.shape[1] == 1 else names
    texts = [x.text for x in predictions if x.text is not None]
    if texts:
        arrays['texts'] = np.array(texts)
    return arrays


def save_embeddings(
    path: str | Path, predictions: Sequence[Prediction]
) -> None:
    """Writes `stack_embeddings` to a file that `np.load` reads.

    Raises:
        ValueError: If the task gives none, or the file is no `.npz`.
    """
    arrays = stack_embeddings(predictions)
    check_npz(path)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def check_npz(path: str | Path) -> None:
    """Raises a ValueError if a file is not called `.npz`."""
    if Path(path).suffix != '.npz':
        raise ValueError(f'embeddings are written to a .npz file, not {path}')
