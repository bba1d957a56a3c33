# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Samples of several kinds at a fixed ratio, for pretraining."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Dataset, Sampler

from beit3_mm.datasets.pretraining.mixed import KINDS, MixedDataset
from beit3_mm.datasets.samplers.permutation import Permutation
from beit3_mm.datasets.seeding import SampleIndex
from beit3_mm.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class MixedSampler(Sampler[SampleIndex]):
    """Repeats a pattern of kinds, each of which has epochs of its own.

    With `ratio=dict(image=1, text=1, pair=1)` it yields an image, a text, a
    pair, an image and so on: every batch whose size is a multiple of 3 has
    exactly that mix, on every process, which `beit3_mm.SampleOrderHook`
    checks. For iteration-based training. Which samples a step has depends on
    the seed and on the batch of all processes together.

    Args:
        dataset: A `MixedDataset`, or one in `SeededDataset`.
        ratio: Number of samples of each kind in a pattern.
        shuffle: Whether each epoch of a kind has an order of its own.
        seed: Seed of order, augmentation and masks, equal in all processes.
            `Runner` gives its own; None draws one.

    Raises:
        TypeError: If the data set is none of these.
        ValueError: If `ratio` does not fit the kinds of the data set.

    Example:
        >>> dict(
        ...     type='beit3_mm.MixedSampler',
        ...     ratio=dict(image=1, text=1, pair=1),
        ... )
    """

    def __init__(
        self,
        dataset: Dataset,
        ratio: dict[str, int],
        shuffle: bool = True,
        seed: int | None = None,
    ) -> None:
        mixed = getattr(dataset, 'dataset', dataset)
        if not isinstance(mixed, MixedDataset):
            raise TypeError(
                'MixedSampler samples a beit3_mm.MixedDataset, not '
                f'{type(mixed).__name__}'
            )
        _check_ratio(ratio, mixed)
        self.ranges = mixed.ranges
        self.ratio = dict(ratio)
        self.pattern = [
            (kind, number)
            for kind in KINDS
            for number in range(ratio.get(kind, 0))
        ]
        self.shuffle = shuffle
        self.rank, self.world_size = get_dist_info()
        self.seed = sync_random_seed() if seed is None else seed
        self.start = 0

    def skip(self, num_samples: int) -> None:
        """Starts after `num_samples` samples of this process.

        mmengine's `IterBasedTrainLoop` calls it when it resumes.
        """
        self.start = num_samples

    def check_batch_size(self, batch_size: int) -> None:
        """Raises where batches would not all have the mix of `ratio`.

        Raises:
            ValueError: If `batch_size` is not a multiple of its sum.
        """
        if batch_size % len(self.pattern):
            raise ValueError(
                f'{batch_size=} (of one process) must be a multiple of '
                f'{len(self.pattern)}, the sum of ratio={self.ratio}: else '
                'batches would have different mixes'
            )

    def __iter__(self) -> Iterator[SampleIndex]:
        """Yields the indices of this process without end."""
        orders: dict[str, tuple[int, Any]] = {}
        for position in itertools.count(self.start):
            turn, place = divmod(position, len(self.pattern))
            kind, number = self.pattern[place]
            drawn = turn * self.ratio[kind] + number  # by this process
            indices = self.ranges[kind]
            epoch, place = divmod(
                drawn * self.world_size + self.rank, len(indices)
            )
            if orders.get(kind, (-1,))[0] != epoch:
                orders[kind] = epoch, self._order(kind, epoch)
            index = indices[orders[kind][1][place]]
            yield SampleIndex(index, self.seed, epoch)

    def _order(self, kind: str, epoch: int) -> Permutation | range:
        size = len(self.ranges[kind])
        if not self.shuffle:
            return range(size)
        return Permutation(size, (self.seed, epoch, KINDS.index(kind)))

    def __len__(self) -> int:
        """Returns the samples of this process until each kind has had one
        epoch at least.
        """
        turns = max(
            math.ceil(len(self.ranges[kind]) / self.ratio[kind])
            for kind, _ in self.pattern
        )
        return math.ceil(turns * len(self.pattern) / self.world_size)


def _check_ratio(ratio: dict[str, int], mixed: MixedDataset) -> None:
    wrong = [
        number
        for number in ratio.values()
        if not isinstance(number, int) or number < 1
    ]
    if wrong or set(ratio) != set(mixed.ranges):
        raise ValueError(
            f'ratio={dict(ratio)} must have a whole number, at least 1, for '
            f'each of the kinds {list(mixed.ranges)} of the data set'
        )
