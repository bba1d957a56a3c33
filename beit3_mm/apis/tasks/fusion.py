# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Questions and statements about images, by a fusion encoder."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from beit3_mm.apis.predictions import Choice, Judgement
from beit3_mm.apis.settings import find_file
from beit3_mm.apis.tasks.base import (
    Batch,
    Images,
    Query,
    Task,
    Texts,
    pair,
    require_images,
)
from beit3_mm.apis.tasks.classification import likeliest
from beit3_mm.evaluation.vqa_answers import read_answers
from beit3_mm.models.heads.nlvr2 import NUM_IMAGES


class QuestionAnswering(Task):
    """Answers questions about an image with one of the known answers.

    They are in the `answer_file` (`read_answers`) of the config's
    `test_evaluator`, or of its test data set.
    """

    gives_embeddings = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        path = find_file(
            model.cfg, 'answer_file', 'test_evaluator', 'test_dataloader'
        )
        self.answers = read_answers(path)

    def queries(self, images: Images, texts: Texts) -> list[Query]:
        """Makes a sample of each image with its question."""
        require_images(images, 'VQA')
        return pair([(image,) for image in images], texts, 'VQA')

    def predict(self, batches: Iterator[Batch]) -> Iterator[Choice]:
        """Yields the likeliest answers; `fused` is the CLS token, which the
        head reads.
        """
        model = self.model
        for queries, inputs, samples in batches:
            fused = model.extract_feat(inputs, first_tokens=True)
            samples = model.head.predict(*fused[:2], samples)
            rows = _numpy(fused.vision[:, 0])
            for query, sample, row in zip(queries, samples, rows):
                yield Choice(
                    images=query.images,
                    text=query.text,
                    embeddings={'fused': row},
                    **likeliest(sample.pred_scores, self.answers),
                )


class Judging(Task):
    """Tells whether a text about two images is true (NLVR2)."""

    gives_embeddings = True

    def queries(self, images: Images, texts: Texts) -> list[Query]:
        """Makes a sample of two images after the other with their text."""
        require_images(images, 'NLVR2')
        if len(images) % NUM_IMAGES:
            raise ValueError(
                f'NLVR2 takes two images per text, left and right; there are '
                f'{len(images)} images'
            )
        groups = [
            tuple(images[i : i + NUM_IMAGES])
            for i in range(0, len(images), NUM_IMAGES)
        ]
        return pair(groups, texts, 'NLVR2')

    def predict(self, batches: Iterator[Batch]) -> Iterator[Judgement]:
        """Yields judgements; `fused` is what the head reads: CLS token and
        `<s>` of the left image's pass, then of the right one's.
        """
        model = self.model
        for queries, inputs, samples in batches:
            fused = model.extract_feat(inputs, first_tokens=True)
            samples = model.head.predict(*fused[:2], samples)
            # (B, K, 1, C) twice -> (B, K, 2, C) -> (B, 4 C)
            rows = torch.cat([fused.vision, fused.language], dim=2).flatten(1)
            for query, sample, row in zip(queries, samples, _numpy(rows)):
                yield Judgement(
                    images=query.images,
                    text=query.text,
                    embeddings={'fused': row},
                    score=sample.pred_scores[1].item(),
                )


def _numpy(x: Tensor) -> np.ndarray:
    return x.float().cpu().numpy()
