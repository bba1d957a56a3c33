# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from typing import Any

import numpy as np

from beit3_mm.evaluation.sample_metric import SampleMetric, field
from beit3_mm.registry import METRICS


@METRICS.register_module()
class CodebookUsage(SampleMetric):
    """How many codes a visual tokenizer uses on a data set.

    A sample has `pred_visual_ids`. Figures: `codebook/usage`, the share of
    the codes that are found anywhere, in per cent, as the authors report it
    of BEiT v2; `codebook/perplexity`, how many codes would be as hard to guess
    if all were used alike; `codebook/most_frequent`, the share of the patches
    that have the commonest code, in per cent.

    Args:
        num_codes: Number of codes.
        collect_device: 'cpu' or 'gpu': how results travel.
        prefix: In front of the names of the figures, instead of 'codebook'.

    Raises:
        ValueError: In use, if ids are missing or out of range.

    Example:
        >>> dict(type='beit3_mm.CodebookUsage', num_codes=8192)
    """

    default_prefix = 'codebook'

    def __init__(
        self,
        num_codes: int,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.num_codes = num_codes

    def read(self, sample: dict) -> dict[str, Any]:
        """Returns the ids of an image."""
        ids = field(sample, 'pred_visual_ids', 'CodebookUsage')
        return dict(ids=ids.cpu().numpy().astype(np.int32))

    def score(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Returns the figures of all ids."""
        ids = np.concatenate([result['ids'].ravel() for result in results])
        if ids.min() < 0 or ids.max() >= self.num_codes:
            raise ValueError(
                f'pred_visual_ids of {ids.min()} to {ids.max()} are not of '
                f"{self.num_codes} codes: num_codes must be the tokenizer's"
            )
        counts = np.bincount(ids, minlength=self.num_codes)
        shares = counts[counts > 0] / counts.sum()
        return {
            'usage': 100 * len(shares) / self.num_codes,
            'perplexity': float(np.exp(-(shares * np.log(shares)).sum())),
            'most_frequent': 100 * float(shares.max()),
        }
