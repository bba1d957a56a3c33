# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from itertools import islice

import pytest

import beit3_mm  # noqa: F401
from beit3_mm.datasets.samplers import EpochSampler, InfiniteSampler
from beit3_mm.datasets.samplers import seeded_samplers as module

SAMPLERS = pytest.mark.parametrize('cls', [EpochSampler, InfiniteSampler])


@pytest.fixture
def sample(monkeypatch):
    """Returns what each of `world_size` processes draws, in turn."""

    def draw(cls, world_size, count, size=10, skip=0, **kwargs):
        streams = []
        for rank in range(world_size):
            monkeypatch.setattr(
                module, 'get_dist_info', lambda rank=rank: (rank, world_size)
            )
            sampler = cls(range(size), seed=5, **kwargs)
            if cls is InfiniteSampler:
                sampler.skip(skip)
            else:
                sampler.set_epoch(0, start=skip)
            streams.append([*islice(sampler, count // world_size)])
        return [
            (int(index), index.seed, index.epoch)
            for step in zip(*streams)
            for index in step
        ]

    return draw


@SAMPLERS
def test_an_epoch_holds_every_sample_once_in_an_order_of_its_own(cls, sample):
    drawn = sample(cls, 1, 10)
    assert sorted(drawn) == [(i, 5, 0) for i in range(10)]
    assert drawn != sorted(drawn)
    assert sample(cls, 1, 10, shuffle=False) == sorted(drawn)


@SAMPLERS
@pytest.mark.parametrize('world_size', [2, 5])
def test_processes_share_one_order(cls, world_size, sample):
    assert sample(cls, world_size, 10) == sample(cls, 1, 10)


@SAMPLERS
@pytest.mark.parametrize('world_size', [1, 2])
def test_starting_late_leaves_out_what_was_drawn(cls, world_size, sample):
    whole = sample(cls, world_size, 10)
    late = sample(cls, world_size, 6, skip=4 // world_size)
    assert late == whole[4:]


def test_the_last_round_of_an_epoch_is_filled_up(sample):
    drawn = sample(EpochSampler, 4, 100)
    assert len(drawn) == 12
    assert drawn[10:] == drawn[:2]


def test_an_epoch_ends_but_iterations_do_not(sample):
    assert len(sample(EpochSampler, 1, 100)) == 10
    assert len(sample(InfiniteSampler, 1, 100)) == 100


def test_epochs_have_different_orders(sample):
    sampler = EpochSampler(range(10), seed=5)
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        epochs += [(int(i), i.seed, i.epoch) for i in sampler]
    orders = {tuple(epochs[n : n + 10]) for n in (0, 10, 20)}
    assert len({tuple(i for i, *_ in order) for order in orders}) == 3
    # Both samplers agree on them.
    assert sample(InfiniteSampler, 1, 30) == epochs


@SAMPLERS
def test_empty_data_is_refused(cls):
    with pytest.raises(ValueError, match='no sample: check its ann_file'):
        cls([], seed=0)


@SAMPLERS
def test_length_is_that_of_one_process_in_one_epoch(cls, monkeypatch):
    monkeypatch.setattr(module, 'get_dist_info', lambda: (1, 4))
    assert len(cls(range(10), seed=0)) == 3
