# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Random draws of a sample, seeded by (seed, epoch, index of the sample).

A sampler of `beit3_mm.datasets.samplers` yields each index together with its
seed and epoch; `SeededDataset` seeds all generators with them. So neither the
number of workers or processes nor a resume changes a sample.
"""

import random
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from torch.utils.data import Dataset

from beit3_mm.registry import DATASETS


class SampleError(ValueError):
    """A sample could not be prepared; the message names its file."""


class SampleIndex(int):
    """Index of a sample that also says which seed and epoch it belongs to.

    It is an `int`, so that every dataset, wrapper and batch sampler takes it.
    """

    seed: int
    epoch: int

    def __new__(cls, index: int, seed: int, epoch: int) -> 'SampleIndex':
        """Returns `index` as an `int` with two attributes."""
        self = super().__new__(cls, index)
        self.seed = seed
        self.epoch = epoch
        return self

    def __reduce__(self) -> tuple:
        """Keeps seed and epoch on the way to a worker process."""
        return SampleIndex, (int(self), self.seed, self.epoch)


@contextmanager
def seeded_random(*key: int) -> Iterator[None]:
    """Seeds `random`, numpy and torch (CPU) with `key`, restored on exit.

    Args:
        *key: Integers >= 0 that together identify what is drawn.
    """
    words = np.random.SeedSequence(key).generate_state(4)
    python_state = random.getstate()
    numpy_state = np.random.get_state()
    # `torch.manual_seed` would reseed the GPUs, and with them drop path.
    with torch.random.fork_rng(devices=[]):
        random.seed(words.tobytes())
        np.random.seed(words)
        torch.default_generator.manual_seed(
            int(words[0]) << 32 | int(words[1])
        )
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


@DATASETS.register_module()
class SeededDataset(Dataset):
    """Any dataset, with the random draws of each sample seeded.

    Needs a sampler that yields `SampleIndex`: `beit3_mm.EpochSampler`,
    `beit3_mm.InfiniteSampler` or `beit3_mm.MixedSampler`. A plain index is
    prepared without seeding.
    Transforms that keep state between samples, as mmdet's `CachedMosaic`
    does, cannot be reproduced by any seed.

    Args:
        dataset: A dataset, or its config.

    Example:
        >>> dict(
        ...     type='beit3_mm.SeededDataset',
        ...     dataset=dict(type='mmdet.CocoDataset', ann_file='train.json'),
        ... )
    """

    def __init__(self, dataset: dict | Dataset) -> None:
        if isinstance(dataset, dict):
            dataset = DATASETS.build(dataset)
        if not isinstance(dataset, Sized):
            raise TypeError(f'{type(dataset).__name__} has no length')
        self.dataset = dataset

    def full_init(self) -> None:
        """Reads the annotations, where the dataset has put that off."""
        if hasattr(self.dataset, 'full_init'):
            self.dataset.full_init()

    @property
    def metainfo(self) -> dict:
        """Meta information of the dataset, such as its class names."""
        return self.dataset.metainfo

    def get_data_info(self, index: int) -> dict:
        """Returns the annotation of a sample before its transforms."""
        return self.dataset.get_data_info(index)

    def get_cat_ids(self, index: int) -> list[int]:
        """Returns the categories of a sample, as class-aware samplers ask."""
        return self.dataset.get_cat_ids(index)

    def __len__(self) -> int:
        """Returns the number of samples."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """Returns the prepared sample.

        Raises:
            SampleError: If the sample cannot be prepared.
        """
        if isinstance(index, SampleIndex):
            with seeded_random(index.seed, index.epoch, index):
                return self._prepare(int(index))
        return self._prepare(index)

    def _prepare(self, index: int) -> Any:
        """Prepares a sample; where transforms reject it, another one.

        `BaseDataset.__getitem__` draws replacements itself, but then nobody
        can say which file has failed; so training samples are drawn here.
        """
        dataset, first = self.dataset, index
        draws = (
            type(dataset).__getitem__ is BaseDataset.__getitem__
            and not dataset.test_mode
        )
        if not draws:
            return self._named(dataset.__getitem__, index)
        for _ in range(dataset.max_refetch + 1):
            sample = self._named(dataset.prepare_data, index)
            if sample is not None:
                return sample
            index = int(np.random.randint(len(dataset)))
        raise SampleError(
            f'{self._name(first)} and {dataset.max_refetch} others drawn in '
            f'its place were all rejected (None) by a transform of '
            f'{type(dataset).__name__}: check the images, of which the log '
            'says what is wrong with them, and the pipeline'
        )

    def _named(self, prepare: Any, index: int) -> Any:
        try:
            return prepare(index)
        except SampleError:  # already named
            raise
        except Exception as error:
            raise SampleError(
                f'{self._name(index)}: {type(error).__name__}: {error}'
            ) from error

    def _name(self, index: int) -> str:
        """Returns the number of a sample and, where it is known, its file."""
        if not hasattr(self.dataset, 'get_data_info'):
            return f'sample {index}'
        info = self.dataset.get_data_info(index)
        image = info.get('img_path', info.get('img_paths', 'no image'))
        return f'sample {index} ({image})'
