# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""One call: images and texts in, predictions out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from beit3_mm.apis.images import ImageSource, as_inputs
from beit3_mm.apis.model import init_model
from beit3_mm.apis.predictions import Prediction
from beit3_mm.apis.settings import build_pipeline
from beit3_mm.apis.tasks import Batch, Query, build_task
from beit3_mm.engine.vocabulary_check import check_vocabularies


class Inferencer:
    """A model that is asked about images and texts.

    No data set is needed: images and texts go through the pipeline of the
    config's test data set, whose steps that read files are left out.

    Args:
        config: As of `init_model`; so are all others.
        checkpoint: The weights.
        device: Where the model runs.
        cfg_options: Changes of the config.
        trust_checkpoint: Reads checkpoints that hold Python objects.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If config and checkpoint do not fit each other, the model
            has no task, or the config lacks what its task needs.

    Example:
        >>> detector = Inferencer('beit3_cascade_coco.py', 'detector.pth')
        >>> (found,) = detector('dog.jpg')
        >>> print(found.summary())
        >>> draw(found).save('dog.png')
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path | None = None,
        device: str | torch.device | None = None,
        cfg_options: Mapping[str, Any] | None = None,
        trust_checkpoint: bool = False,
    ) -> None:
        self.model = init_model(
            config, checkpoint, device, cfg_options, trust_checkpoint
        )
        self.task = build_task(self.model)
        cfg, stages = self.model.cfg, ('test_dataloader', 'test_evaluator')
        check_vocabularies(self.model, cfg.model, *map(cfg.get, stages))

    def __call__(
        self,
        images: ImageSource | Sequence[ImageSource] = (),
        texts: str | Sequence[str] = (),
        batch_size: int = 1,
    ) -> list[Prediction]:
        """Predicts for images, texts, or images with texts.

        Args:
            images: Paths, PIL images or arrays, BGR (`as_inputs`); or one of
                these.
            texts: Texts, or one.
            batch_size: Samples that go through the model at once.

        Returns:
            The predictions, in the order of the images (of the texts, where
            one image has several): `Detections`, `LabelMap`, `Choice` (VQA
            and classification), `Caption`, `Judgement`, or `Ranking`.

        Raises:
            FileNotFoundError: If an image is missing.
            TypeError: If something is no image or no text.
            ValueError: If an image is broken, images and texts are not what
                the task takes, or `batch_size` is less than 1.
        """
        return list(self.predict(images, texts, batch_size))

    @torch.no_grad()
    def predict(
        self,
        images: ImageSource | Sequence[ImageSource] = (),
        texts: str | Sequence[str] = (),
        batch_size: int = 1,
    ) -> Iterator[Prediction]:
        """Yields what a call returns, one after the other: for more images
        than fit into memory.
        """
        if batch_size < 1:
            raise ValueError(f'{batch_size=} must be at least 1')
        queries = self.task.queries(as_inputs(images), _as_texts(texts))
        yield from self.task.predict(self._batches(queries, batch_size))

    def _batches(
        self, queries: Sequence[Query], batch_size: int
    ) -> Iterator[Batch]:
        """Yields batches of inputs of one size: a batch of several would be
        padded, which changes what a model sees.
        """
        pipeline = cache(self._pipeline)
        waiting = []
        for number, query in enumerate(queries):
            steps = pipeline(bool(query.images), query.text is not None)
            packed = steps(query.to_results(number))
            if waiting and _shape(packed) != _shape(waiting[0][1]):
                yield self._collate(waiting)
                waiting = []
            waiting.append((query, packed))
            if len(waiting) == batch_size:
                yield self._collate(waiting)
                waiting = []
        if waiting:
            yield self._collate(waiting)

    def _collate(self, samples: list[tuple[Query, dict]]) -> Batch:
        queries, packed = zip(*samples)
        data = self.model.data_preprocessor(pseudo_collate(packed), False)
        return Batch(list(queries), data['inputs'], data['data_samples'])

    def _pipeline(self, image: bool, text: bool) -> Compose:
        cfg = self.model.cfg
        scope = cfg.get('default_scope') or 'mmengine'
        with DefaultScope.overwrite_default_scope(scope):
            return build_pipeline(cfg, image, text)


def _as_texts(texts: str | Sequence[str]) -> list[str]:
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, Iterable):
        raise TypeError(f'texts must be str, one or several, not {texts!r}')
    texts = list(texts)
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(
                f'a text must be a str, not {type(text).__name__}: {text!r}'
            )
    return texts


def _shape(packed: dict) -> tuple[int, ...] | None:
    """Returns the shape of the image of a sample, None of a text alone."""
    inputs = packed['inputs']
    image = inputs.get('image') if isinstance(inputs, dict) else inputs
    return None if image is None else tuple(image.shape)
