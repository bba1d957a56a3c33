# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Samplers for training whose order depends on (seed, epoch) alone.

Both deal one common order out to the processes in turn and can start at any
position of it, so that a resumed run goes on where the first one stopped.
"""

import itertools
import math
from collections.abc import Iterator, Sized

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from beit3_mm.datasets.seeding import SampleIndex
from beit3_mm.registry import DATA_SAMPLERS


def epoch_order(size: int, shuffle: bool, seed: int, epoch: int) -> list[int]:
    """Returns the order in which an epoch visits `size` samples."""
    if not shuffle:
        return list(range(size))
    return np.random.default_rng((seed, epoch)).permutation(size).tolist()


def _size(dataset: Sized) -> int:
    if len(dataset) == 0:
        raise ValueError(
            'the training dataset holds no sample: check its ann_file, its '
            'data_prefix, the classes in its metainfo, and its filter_cfg'
        )
    return len(dataset)


@DATA_SAMPLERS.register_module()
class EpochSampler(Sampler[SampleIndex]):
    """Visits every sample once an epoch, for epoch-based training.

    The last round is filled up with the epoch's first samples, so that all
    processes draw equally many. Needs `beit3_mm.SampleOrderHook`.

    Args:
        dataset: The dataset that is sampled.
        shuffle: Whether each epoch has an order of its own.
        seed: Seed of order and augmentation, equal in all processes.
            `Runner` gives its own; None draws one.
    """

    def __init__(
        self, dataset: Sized, shuffle: bool = True, seed: int | None = None
    ) -> None:
        self.rank, self.world_size = get_dist_info()
        self.size = _size(dataset)
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = 0
        self.start = 0

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Sets the epoch, and how many samples of this process to leave out.

        Args:
            epoch: Number of the epoch, from 0.
            start: Samples of this process that were drawn before a resume.
        """
        self.epoch, self.start = epoch, start

    def __iter__(self) -> Iterator[SampleIndex]:
        """Yields the indices of this process for one epoch."""
        order = epoch_order(self.size, self.shuffle, self.seed, self.epoch)
        filled = itertools.islice(
            itertools.cycle(order), len(self) * self.world_size
        )
        first = self.rank + self.start * self.world_size
        for index in itertools.islice(filled, first, None, self.world_size):
            yield SampleIndex(index, self.seed, self.epoch)

    def __len__(self) -> int:
        """Returns the number of samples of this process in an epoch."""
        return math.ceil(self.size / self.world_size)


@DATA_SAMPLERS.register_module()
class InfiniteSampler(Sampler[SampleIndex]):
    """Strings the orders of all epochs together, for iteration-based training.

    Args:
        dataset: The dataset that is sampled.
        shuffle: Whether each epoch has an order of its own.
        seed: Seed of order and augmentation, equal in all processes.
            `Runner` gives its own; None draws one.
    """

    def __init__(
        self, dataset: Sized, shuffle: bool = True, seed: int | None = None
    ) -> None:
        self.rank, self.world_size = get_dist_info()
        self.size = _size(dataset)
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.start = 0

    def skip(self, num_samples: int) -> None:
        """Starts after `num_samples` samples of this process.

        mmengine's `IterBasedTrainLoop` calls it when it resumes.
        """
        self.start = num_samples

    def __iter__(self) -> Iterator[SampleIndex]:
        """Yields the indices of this process without end."""
        order_epoch, order = -1, []
        first = self.rank + self.start * self.world_size
        for position in itertools.count(first, self.world_size):
            epoch, place = divmod(position, self.size)
            if epoch != order_epoch:
                order_epoch = epoch
                order = epoch_order(self.size, self.shuffle, self.seed, epoch)
            yield SampleIndex(order[place], self.seed, epoch)

    def __len__(self) -> int:
        """Returns the number of samples of this process in an epoch."""
        return math.ceil(self.size / self.world_size)
