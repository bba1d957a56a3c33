# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What the metrics have in common: one result a sample, and all of them."""

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

_PREDICTIONS = (
    *('pred_label', 'pred_ids', 'pred_visual_ids'),
    *('image_embedding', 'text_embeddings'),
)
_NAMES = ('question_id', 'identifier', 'image_id', 'img_path', 'img_paths')


class SampleMetric(BaseMetric):
    """A metric of exactly one result for each sample of a data set.

    So it is right on several processes: mmengine puts their results into the
    order of the data set, and drops those of samples that a sampler repeated
    to fill the last batches.

    Args:
        id_key: Key of a result by which it is told from others.
        outfile_prefix: Where to write predictions, without the suffix.
        format_only: Writes predictions and computes no score, for a test
            whose truth is not published.
        collect_device: 'cpu' or 'gpu': how results travel.
        prefix: In front of the names of the figures.

    Raises:
        ValueError: If `format_only` does not know where to write.
    """

    def __init__(
        self,
        id_key: str | None = None,
        outfile_prefix: str | None = None,
        format_only: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        if format_only and not outfile_prefix:
            raise ValueError(
                f'{format_only=} needs outfile_prefix, such as '
                "'work_dirs/results'"
            )
        self.id_key = id_key
        self.outfile_prefix = outfile_prefix
        self.format_only = format_only
        self._size: int | None = None

    @abstractmethod
    def read(self, sample: dict) -> dict[str, Any]:
        """Returns the result of a predicted sample, tensors on the CPU."""

    @abstractmethod
    def score(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Returns the figures of all results, in the data set's order."""

    def write(self, results: list[dict[str, Any]]) -> list[Path]:
        """Writes predictions to `outfile_prefix`; returns the files."""
        raise TypeError(f'{type(self).__name__} has no format of predictions')

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keeps the results of a batch of predicted samples."""
        self.results.extend(map(self.read, data_samples))

    def evaluate(self, size: int) -> dict[str, float]:
        """Computes the figures of a data set of `size` samples."""
        self._size = size
        return super().evaluate(size)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Checks that all results are there, writes and scores them.

        Raises:
            ValueError: If there are none, some are missing, or two have the
                same id.
        """
        self._check(results)
        if self.outfile_prefix:
            Path(self.outfile_prefix).parent.mkdir(parents=True, exist_ok=True)
            for path in self.write(results):
                print_log(f'{len(results)} predictions: {path}', 'current')
        return {} if self.format_only else self.score(results)

    def _check(self, results: list) -> None:
        name = type(self).__name__
        if not results or len(results) < (self._size or 0):
            raise ValueError(
                f'{name} has predictions of {len(results)} of '
                f'{self._size or 0} samples; the dataloader must reach every '
                "sample: sampler=dict(type='mmengine.DefaultSampler', "
                'shuffle=False), drop_last=False'
            )
        if self.id_key is None:
            return
        counts = Counter(result[self.id_key] for result in results)
        twice = [key for key, count in counts.items() if count > 1]
        if twice:
            raise ValueError(
                f'{name}: {len(twice)} {self.id_key}s are there more than '
                f'once, such as {twice[:3]}: the data set lists them twice, '
                'or its sampler is not mmengine.DefaultSampler'
            )


def field(sample: dict, key: str, metric: str) -> Any:
    """Returns what a predicted sample has under a key.

    Args:
        sample: A data sample as a dict.
        key: Name of the field.
        metric: Who needs it.

    Raises:
        ValueError: If it is not there, or None.
    """
    value = sample.get(key)
    if value is None:
        names = {name: sample[name] for name in _NAMES if name in sample}
        remedy = "the model sets it in mode='predict'"
        if key not in _PREDICTIONS:
            remedy = (
                'the data set must give it, and PackMultimodalInputs keep it '
                '(meta_keys); without truth, set format_only=True'
            )
        raise ValueError(
            f'{metric} needs {key!r} of the sample {names}: {remedy}'
        )
    return value


def predicted_label(sample: dict, metric: str) -> int:
    """Returns the label that a sample was given.

    Args:
        sample: A data sample as a dict, with `pred_label`; `pred_scores`
            (n,), of which it is the largest, may be missing.
        metric: Who needs it.

    Raises:
        ValueError: If there is none, or the scores are not finite.
    """
    label = int(field(sample, 'pred_label', metric))
    scores = sample.get('pred_scores')
    if scores is not None and not scores.isfinite().all():
        names = {name: sample[name] for name in _NAMES if name in sample}
        raise ValueError(
            f'{metric}: pred_scores of the sample {names} are not finite: '
            'the model has diverged'
        )
    return label


def plain(value: Any) -> Any:
    """Returns a number of torch or numpy as Python's, for JSON."""
    return value.item() if hasattr(value, 'item') else value


def write_json(path: str, content: Any) -> Path:
    """Writes a JSON file and returns its path."""
    Path(path).write_text(json.dumps(content), encoding='utf-8')
    return Path(path)
