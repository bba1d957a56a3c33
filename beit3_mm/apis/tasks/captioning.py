# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Descriptions of images."""

from collections.abc import Iterator

from torch import nn

from beit3_mm.apis.predictions import Caption
from beit3_mm.apis.settings import find_file
from beit3_mm.apis.tasks.base import (
    Batch,
    Images,
    Query,
    Task,
    Texts,
    images_alone,
)
from beit3_mm.tokenizer import load_tokenizer


class Captioning(Task):
    """Describes images.

    The tokenizer is the `model_file` of the config's `test_evaluator`, or of
    its test pipeline.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.tokenizer = load_tokenizer(
            find_file(
                model.cfg, 'model_file', 'test_evaluator', 'test_dataloader'
            )
        )

    def queries(self, images: Images, texts: Texts) -> list[Query]:
        """Makes a sample of each image."""
        return images_alone(images, texts, 'captioning')

    def predict(self, batches: Iterator[Batch]) -> Iterator[Caption]:
        """Yields the caption of each image."""
        for queries, inputs, samples in batches:
            samples = self.model(inputs, samples, mode='predict')
            for query, sample in zip(queries, samples, strict=True):
                caption = self.tokenizer.decode(sample.pred_ids.tolist())
                yield Caption(images=query.images, caption=caption)
