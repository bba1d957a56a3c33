# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from itertools import islice

import pytest

from beit3_mm.datasets import MixedDataset, SeededDataset
from beit3_mm.datasets.samplers import MixedSampler
from beit3_mm.datasets.samplers import mixed_sampler as module

RATIO = dict(image=2, text=1, pair=3)
SIZES = dict(image=4, text=3, pair=7)


class Part:
    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size


def dataset(**sizes):
    parts = {kind: Part(size) for kind, size in (sizes or SIZES).items()}
    return SeededDataset(MixedDataset(parts))


@pytest.fixture
def draw(monkeypatch):
    """Returns what each process draws: (kind, number in it, epoch)."""

    def draw(world_size, count, skip=0, ratio=RATIO, **options):
        data = dataset()
        streams = []
        for rank in range(world_size):
            monkeypatch.setattr(
                module, 'get_dist_info', lambda rank=rank: (rank, world_size)
            )
            sampler = MixedSampler(data, ratio, seed=5, **options)
            sampler.skip(skip)
            streams.append([])
            for index in islice(sampler, count):
                assert index.seed == 5
                kind = data.dataset.kind(index)
                number = index - data.dataset.ranges[kind].start
                streams[-1].append((kind, number, index.epoch))
        return streams

    return draw


@pytest.mark.parametrize('world_size', [1, 2])
@pytest.mark.parametrize('batch_size', [6, 12])
def test_every_batch_of_every_process_has_the_mix(
    draw, world_size, batch_size
):
    for stream in draw(world_size, 96):
        for start in range(0, 96, batch_size):
            kinds = [x[0] for x in stream[start : start + batch_size]]
            for kind, number in RATIO.items():
                assert kinds.count(kind) == number * batch_size // 6


@pytest.mark.parametrize('world_size', [1, 2, 3])
@pytest.mark.parametrize('shuffle', [True, False])
def test_each_kind_goes_through_epochs_of_its_own(draw, world_size, shuffle):
    streams = draw(world_size, 6 * 12, shuffle=shuffle)
    for kind, size in SIZES.items():
        of_kind = [[x for x in s if x[0] == kind] for s in streams]
        drawn = [x for step in zip(*of_kind) for x in step]
        assert len(drawn) == 12 * RATIO[kind] * world_size
        orders = []
        for epoch in range(len(drawn) // size):
            part = drawn[epoch * size : (epoch + 1) * size]
            assert {x[2] for x in part} == {epoch}
            orders.append([x[1] for x in part])
            assert sorted(orders[-1]) == [*range(size)]
        different = len({tuple(order) for order in orders}) > 1
        assert different == shuffle


@pytest.mark.parametrize('world_size', [1, 2])
@pytest.mark.parametrize('skip', [1, 6, 31])
def test_starting_late_leaves_out_what_was_drawn(draw, world_size, skip):
    whole, late = draw(world_size, 60), draw(world_size, 60 - skip, skip)
    assert late == [stream[skip:] for stream in whole]


def test_what_a_step_has_does_not_depend_on_the_processes(draw):
    one, two = draw(1, 24), draw(2, 12)
    for step in range(2):
        alone = one[0][step * 12 : (step + 1) * 12]
        shared = [x for s in two for x in s[step * 6 : (step + 1) * 6]]
        assert sorted(alone) == sorted(shared)


def test_length():
    sampler = MixedSampler(dataset(), dict(image=1, text=1, pair=1))
    assert len(sampler) == 7 * 3
    drawn = {int(index) for index in islice(sampler, len(sampler))}
    assert drawn == set(range(14))


def test_batches_of_another_mix_are_refused():
    sampler = MixedSampler(dataset(), RATIO)
    sampler.check_batch_size(12)
    with pytest.raises(ValueError, match=r'batch_size=8 .* multiple of 6'):
        sampler.check_batch_size(8)


@pytest.mark.parametrize(
    'ratio', [dict(image=1), dict(RATIO, image=0), dict(RATIO, text=0.5)]
)
def test_wrong_ratios_are_refused(ratio):
    with pytest.raises(ValueError, match=r"'image', 'text', 'pair'"):
        MixedSampler(dataset(), ratio)


def test_other_data_sets_are_refused():
    with pytest.raises(TypeError, match='MixedDataset, not Part'):
        MixedSampler(SeededDataset(Part(3)), RATIO)
