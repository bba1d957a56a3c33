# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Recall of retrieval. I images, T texts, D channels of an embedding."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from beit3_mm.evaluation.sample_metric import SampleMetric, field
from beit3_mm.registry import METRICS

# Similarities that are in memory at a time: 16 MB, and about as much again
# for each of a few masks and copies
MAX_SIMILARITIES = 2**22


@METRICS.register_module()
class RetrievalRecall(SampleMetric):
    """Recall at k of texts by an image and of images by a text, in per cent.

    A sample is an image with all of its texts: `image_embedding` (D,) and
    `text_embeddings` (k, D). An image finds its text if one of its texts is
    among the k texts that are most similar; a text finds its image if it is
    among the k images that are. Of equally similar ones, the one that comes
    first in the data set stands in front, so that embeddings that are all
    alike recall no more than chance does.

    Figures: `retrieval/image_to_text_R@1` and so on,
    `retrieval/text_to_image_R@1` and so on, and `retrieval/mean_R`, the mean
    of all of these (unilm/beit3, engine_for_finetuning.py).

    Args:
        topk: Numbers of candidates.
        collect_device: 'cpu' or 'gpu': how results travel.
        prefix: In front of the names of the figures, instead of 'retrieval'.

    Raises:
        ValueError: If `topk` is empty or a number less than 1; in use, if an
            embedding is missing, of another size or not finite.

    Example:
        >>> dict(type='beit3_mm.RetrievalRecall', topk=(1, 5, 10))
    """

    default_prefix = 'retrieval'

    def __init__(
        self,
        topk: Sequence[int] = (1, 5, 10),
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not topk or min(topk) < 1:
            raise ValueError(f'{topk=} must hold numbers of at least 1')
        self.topk = tuple(topk)

    def read(self, sample: dict) -> dict[str, Any]:
        """Returns the embeddings in float32 on the CPU."""
        image, texts = (
            field(sample, key, 'RetrievalRecall').detach().float().cpu()
            for key in ('image_embedding', 'text_embeddings')
        )
        if image.ndim != 1 or texts.shape != (len(texts), len(image)):
            raise ValueError(
                f'image_embedding {tuple(image.shape)} and text_embeddings '
                f'{tuple(texts.shape)} must be (D,) and (k, D)'
            )
        if not (image.isfinite().all() and texts.isfinite().all()):
            raise ValueError(
                'embeddings of the sample '
                f'{sample.get("image_id", sample.get("img_path"))} are not '
                'finite: the model has diverged'
            )
        return dict(image=image, texts=texts)

    def score(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Returns the recalls."""
        counts = torch.tensor([len(result['texts']) for result in results])
        if not counts.all():
            raise ValueError(
                f'sample {counts.argmin().item()} has no text: retrieval '
                'needs one or more for each image'
            )
        images = torch.stack([result['image'] for result in results])
        texts = torch.cat([result['texts'] for result in results])
        owners = torch.arange(len(images)).repeat_interleave(counts)
        pairs = torch.stack([owners, torch.arange(len(texts))])
        ranks = {
            'image_to_text': find_ranks(images, texts, pairs),
            'text_to_image': find_ranks(texts, images, pairs.flip(0)),
        }
        recalls = {
            f'{way}_R@{k}': 100 * (rank < k).double().mean().item()
            for way, rank in ranks.items()
            for k in self.topk
        }
        return recalls | {'mean_R': sum(recalls.values()) / len(recalls)}


def find_ranks(
    queries: Tensor,
    candidates: Tensor,
    pairs: Tensor,
    max_similarities: int = MAX_SIMILARITIES,
) -> Tensor:
    """Returns for each query how many candidates stand in front of its own.

    Candidates are sorted by their scalar product with the query, equal ones
    by their number. Of several own ones the first counts.

    Args:
        queries: `(Q, D)`.
        candidates: `(K, D)`.
        pairs: `(2, P)`: numbers of queries and of candidates that belong to
            them; each query is in one or more pairs.
        max_similarities: Scalar products that are in memory at a time, but
            for at least those of one query.

    Returns:
        `(Q,)` int64; 0 where an own candidate is the first.
    """
    size = max(max_similarities // len(candidates), 1)
    numbers = torch.arange(len(candidates))
    ranks = []
    for start in range(0, len(queries), size):
        similarity = queries[start : start + size] @ candidates.T  # (q, K)
        inside = (pairs[0] >= start) & (pairs[0] < start + size)
        row, column = pairs[0, inside] - start, pairs[1, inside]
        own = similarity[row, column]
        best = torch.full((len(similarity),), -torch.inf)
        best.scatter_reduce_(0, row, own, 'amax')
        ahead = torch.count_nonzero(similarity > best[:, None], dim=1)
        # Of equal ones, those count that come before the first own one.
        equal = similarity == best[:, None]
        tied = torch.count_nonzero(equal, dim=1) > 1
        first = torch.full((len(similarity),), len(candidates))
        is_best = own == best[row]
        first.scatter_reduce_(0, row[is_best], column[is_best], 'amin')
        earlier = equal[tied] & (numbers < first[tied, None])
        ahead[tied] += earlier.sum(1)
        ranks.append(ahead)
    return torch.cat(ranks)
