# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Images, texts and pairs in one data set, and their batches."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from beit3_mm.datasets.seeding import SampleError
from beit3_mm.registry import DATASETS, FUNCTIONS

KINDS = ('image', 'text', 'pair')


@DATASETS.register_module()
class MixedDataset(Dataset):
    """Data sets of several kinds of sample, one behind the other.

    A sample that cannot be read is replaced by another of its kind, which is
    drawn; wrapped in `beit3_mm.SeededDataset`, by the seed of the first. The
    data sample says so: `skipped` lists what was left out, and why. Its sum
    is reported by `beit3_mm.SkippedSamplesHook`.

    Args:
        datasets: Of each kind (`image`, `text`, `pair`) a data set or
            several, or their configs. A data set has `get_data_info` and
            `pipeline`, as those of mmengine.
        max_refetch: Samples that are drawn for one that is rejected.

    Raises:
        ValueError: If a kind is unknown, or none is given.

    Example:
        >>> dict(
        ...     type='beit3_mm.MixedDataset',
        ...     datasets=dict(
        ...         image=dict(
        ...             type='beit3_mm.ImageFolderDataset',
        ...             data_root='data/imagenet21k/train/',
        ...         ),
        ...     ),
        ... )
    """

    metainfo: dict = {}

    def __init__(
        self,
        datasets: dict[str, dict | Dataset | Sequence[dict | Dataset]],
        max_refetch: int = 1000,
    ) -> None:
        if not datasets or set(datasets) - set(KINDS):
            raise ValueError(
                f'datasets of {sorted(datasets)} must be one or more of '
                f'{KINDS}'
            )
        self.max_refetch = max_refetch
        self.parts: list[Dataset] = []
        self.ranges: dict[str, range] = {}
        for kind in KINDS:
            if kind in datasets:
                parts = datasets[kind]
                several = isinstance(parts, list | tuple)
                self._add(kind, parts if several else [parts])
        self.ends = list(accumulate(map(len, self.parts)))

    def _add(self, kind: str, parts: Sequence[dict | Dataset]) -> None:
        """Adds the data sets of a kind."""
        built = [
            DATASETS.build(part) if isinstance(part, dict) else part
            for part in parts
        ]
        start = sum(map(len, self.parts))
        self.parts += built
        self.ranges[kind] = range(start, start + sum(map(len, built)))
        if not self.ranges[kind]:
            raise ValueError(f'the data sets of {kind} hold no sample')

    @property
    def left_out(self) -> list[str]:
        """What was left out when the data sets were read, and why."""
        return [
            f'{kind}\t{reason}'
            for kind, range_ in self.ranges.items()
            for part, end in zip(self.parts, self.ends)
            if end - len(part) in range_
            for reason in getattr(part, 'left_out', ())
        ]

    def kind(self, index: int) -> str:
        """Returns the kind of a sample.

        Raises:
            IndexError: If there is no such sample.
        """
        for kind, range_ in self.ranges.items():
            if index in range_:
                return kind
        raise IndexError(f'{index=} is not below {len(self)}')

    def get_data_info(self, index: int) -> dict:
        """Returns a sample before its transforms."""
        part, place = self._locate(index)
        return part.get_data_info(place)

    def __len__(self) -> int:
        """Returns the number of samples of all kinds."""
        return self.ends[-1]

    def __getitem__(self, index: int) -> dict:
        """Returns `dict(kind=..., inputs=..., data_samples=...)`.

        Raises:
            SampleError: If a sample cannot be prepared, or it and all that
                were drawn in its place are rejected.
        """
        kind, skipped = self.kind(index), []
        for _ in range(self.max_refetch + 1):
            sample = self._prepare(index, skipped)
            if sample is not None:
                break
            range_ = self.ranges[kind]
            # `np.random.choice` would make an array of a range of millions
            index = range_[np.random.randint(len(range_))]
        else:
            raise SampleError(
                f'a sample of kind {kind!r} and {self.max_refetch} drawn in '
                f'its place were all rejected, the first because: {skipped[0]}'
            )
        if skipped:
            data_sample = sample['data_samples']
            data_sample.set_field(
                [f'{kind}\t{reason}' for reason in skipped],
                'skipped',
                field_type='metainfo',
            )
        return dict(kind=kind, **sample)

    def _prepare(self, index: int, skipped: list[str]) -> Any:
        """Returns the transformed sample, or notes why it is rejected."""
        part, place = self._locate(index)
        info = part.get_data_info(place)
        name = info.get('img_path', f'sample {place}')
        sample = None
        if 'rejected' not in info:
            try:
                sample = part.pipeline(info)
            except Exception as error:
                raise SampleError(
                    f'{self.kind(index)} {name}: {type(error).__name__}: '
                    f'{error}'
                ) from error
            if sample is not None and not _is_packed(sample):
                raise SampleError(
                    f'{self.kind(index)} {name}: its pipeline ends without '
                    'inputs and data_samples: PackMultimodalInputs must be '
                    'its last step'
                )
        if sample is None:
            default = f'{name} was rejected by a transform'
            skipped.append(info.get('rejected', default))
        return sample

    def _locate(self, index: int) -> tuple[Any, int]:
        """Returns the data set of a sample, and the number in it."""
        number = bisect_right(self.ends, index)
        start = self.ends[number - 1] if number else 0
        return self.parts[number], int(index) - start


def _is_packed(sample: Any) -> bool:
    needed = {'inputs', 'data_samples'}
    return isinstance(sample, dict) and needed <= sample.keys()


@FUNCTIONS.register_module()
def collate_kinds(samples: Sequence[dict]) -> dict:
    """Makes a batch of samples of `MixedDataset`, sorted by their kind.

    Tensors of one shape are stacked: each tensor that a worker hands over
    costs a file handle and a message between processes, and a batch of a
    hundred samples would have hundreds.

    Args:
        samples: `dict(kind=..., inputs=..., data_samples=...)` each.

    Returns:
        `inputs`, a dict from the kind to what its samples hold: from each key
        to a tensor (B, ...), or to a list where their shapes differ;
        `data_samples`, from the kind to a list. Kinds that do not occur are
        not in it.

    Raises:
        ValueError: If a sample is not of a known kind, or holds other inputs
            than the others of its kind.
    """
    if unknown := {sample.get('kind') for sample in samples} - set(KINDS):
        raise ValueError(
            f'samples of kind {unknown} must be one of {KINDS}: is the data '
            'set a beit3_mm.MixedDataset?'
        )
    batch: dict[str, dict] = dict(inputs={}, data_samples={})
    for kind in KINDS:
        group = [sample for sample in samples if sample['kind'] == kind]
        if group:
            inputs = [sample['inputs'] for sample in group]
            batch['inputs'][kind] = _stack(kind, inputs)
            batch['data_samples'][kind] = [x['data_samples'] for x in group]
    return batch


def _stack(kind: str, inputs: list[dict[str, Tensor]]) -> dict[str, Any]:
    """Stacks what the samples of a kind hold, where it is of one shape."""
    keys = inputs[0].keys()
    if other := next((x for x in inputs if x.keys() != keys), None):
        raise ValueError(
            f'samples of kind {kind!r} hold {sorted(keys)} and '
            f'{sorted(other)}: their data sets must have like pipelines'
        )
    columns = {key: [item[key] for item in inputs] for key in keys}
    return {
        key: torch.stack(column)
        if len({item.shape for item in column}) == 1
        else column
        for key, column in columns.items()
    }
