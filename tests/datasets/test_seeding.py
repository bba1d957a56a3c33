# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, ConcatDataset
from torch.utils.data import DataLoader

import beit3_mm  # noqa: F401
from beit3_mm.datasets import (
    SampleError,
    SampleIndex,
    SeededDataset,
    seeded_random,
)


def draws():
    return random.random(), np.random.rand(), torch.rand(()).item()


class Numbers(BaseDataset):
    """Its transform draws numbers; it may reject or fail on some samples."""

    METAINFO = {'classes': ('odd', 'even')}

    def __init__(self, reject=(), fail=(), **kwargs):
        self.reject, self.fail = reject, fail
        super().__init__(pipeline=[self.draw], **kwargs)

    def load_data_list(self):
        return [{'number': i, 'img_path': f'{i}.jpg'} for i in range(9)]

    def get_cat_ids(self, index):
        return [index % 2]

    def draw(self, results):
        if results['number'] in self.fail:
            raise ZeroDivisionError('in a transform')
        if results['number'] in self.reject:
            return None
        return results['number'], draws()


def test_seeded_random_sets_and_restores_all_generators():
    before = draws()
    with seeded_random(1, 2, 3):
        first = draws()
    with seeded_random(1, 2, 3):
        assert draws() == first
    with seeded_random(1, 3, 2):
        assert not set(draws()) & set(first)
    states = random.getstate(), np.random.get_state()[1], torch.get_rng_state()
    with pytest.raises(KeyError), seeded_random(1):
        draws()
        raise KeyError
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(torch.get_rng_state(), states[2])
    assert not set(before) & set(first)


def test_sample_index_is_an_int_that_survives_pickling():
    index = pickle.loads(pickle.dumps(SampleIndex(7, seed=1, epoch=2)))
    assert index == 7 and [*range(9)][index] == 7
    assert (index.seed, index.epoch) == (1, 2)


def test_a_sample_depends_on_seed_epoch_and_index_alone():
    dataset = SeededDataset(Numbers())
    sample = dataset[SampleIndex(4, seed=0, epoch=5)]
    draws()
    assert dataset[SampleIndex(4, seed=0, epoch=5)] == sample
    for other in (
        SampleIndex(4, seed=1, epoch=5),
        SampleIndex(4, seed=0, epoch=6),
        SampleIndex(3, seed=0, epoch=5),
    ):
        assert not set(dataset[other][1]) & set(sample[1])


def test_plain_indices_draw_from_the_surrounding_generators():
    dataset = SeededDataset(Numbers())
    assert dataset[4] != dataset[4]
    with seeded_random(0):
        expected = draws()
    with seeded_random(0):
        assert dataset[4] == (4, expected)


def test_replacements_of_rejected_samples_are_seeded():
    dataset = SeededDataset(Numbers(reject=range(8)))
    sample = dataset[SampleIndex(2, seed=0, epoch=0)]
    assert sample[0] == 8
    assert dataset[SampleIndex(2, seed=0, epoch=0)] == sample


@pytest.mark.parametrize('num_workers', [0, 1])
def test_errors_name_the_file_that_failed(num_workers):
    # 2.jpg is rejected; whatever replaces it fails.
    dataset = SeededDataset(Numbers(reject=[2], fail=[0, 1, *range(3, 9)]))
    loader = DataLoader(
        dataset,
        sampler=[SampleIndex(2, seed=0, epoch=0)],
        num_workers=num_workers,
    )
    iterator = iter(loader)
    with pytest.raises(SampleError) as failure:
        next(iterator)
    if num_workers:  # left to garbage collection, they take seconds to end
        iterator._shutdown_workers()
    assert '2.jpg' not in str(failure.value)
    assert '.jpg): ZeroDivisionError: in a transform' in str(failure.value)


def test_a_dataset_of_rejected_samples_ends_with_an_error():
    dataset = SeededDataset(Numbers(reject=range(9), max_refetch=5))
    with pytest.raises(SampleError, match=r'3\.jpg.* and 5 others'):
        dataset[3]


def test_test_data_and_wrappers_are_passed_through():
    test_data = SeededDataset(Numbers(test_mode=True, reject=[3]))
    with pytest.raises(SampleError, match=r'3\.jpg'):
        test_data[3]
    wrapped = SeededDataset(ConcatDataset([Numbers(), Numbers(fail=[1])]))
    assert len(wrapped) == 18
    assert wrapped[SampleIndex(17, seed=0, epoch=0)][0] == 8
    with pytest.raises(SampleError, match=r'1\.jpg'):
        wrapped[10]


def test_what_hosts_ask_of_a_dataset():
    dataset = SeededDataset(Numbers(lazy_init=True))
    dataset.full_init()
    assert len(dataset) == 9
    assert dataset.metainfo == {'classes': ('odd', 'even')}
    assert dataset.get_data_info(3)['number'] == 3
    assert dataset.get_cat_ids(3) == [1]
    with pytest.raises(TypeError, match='int has no length'):
        SeededDataset(3)
