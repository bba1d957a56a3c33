# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch
from mmengine.registry import FUNCTIONS, MODELS
from mmengine.structures import BaseDataElement

from beit3_mm.datasets import (
    MixedDataset,
    SampleError,
    SampleIndex,
    SeededDataset,
)


class Part:
    """Numbers from `start` on; some are rejected or raise."""

    left_out = ('a file',)

    def __init__(self, start, size, rejected=(), damaged=(), broken=()):
        self.start, self.size = start, size
        self.rejected, self.damaged, self.broken = rejected, damaged, broken

    def __len__(self):
        return self.size

    def get_data_info(self, index):
        number = self.start + index
        info = dict(img_path=f'{number}.jpg', number=number)
        if number in self.rejected:
            info['rejected'] = f'{number}.jpg is cut'
        return info

    def pipeline(self, info):
        number = info['number']
        if number in self.broken:
            raise KeyError('img')
        if number in self.damaged:
            return None
        return dict(
            inputs=dict(number=torch.tensor(number)),
            data_samples=BaseDataElement(metainfo=dict(number=number)),
        )


def mixed(**options):
    parts = dict(
        pair=[Part(200, 2), Part(300, 3, **options)],
        image=Part(0, 4),
        text=Part(100, 2),
    )
    return MixedDataset(parts, max_refetch=20)


def numbers(dataset):
    samples = [dataset[i] for i in range(len(dataset))]
    return [(x['kind'], x['inputs']['number']) for x in samples]


def test_kinds_lie_one_behind_the_other():
    dataset = mixed()
    assert numbers(dataset) == [
        *[('image', i) for i in range(4)],
        *[('text', 100), ('text', 101)],
        *[('pair', i) for i in (200, 201, 300, 301, 302)],
    ]
    assert dataset.ranges == dict(
        image=range(4), text=range(4, 6), pair=range(6, 11)
    )
    assert dataset.get_data_info(8)['number'] == 300
    with pytest.raises(IndexError, match='not below 11'):
        dataset[11]


def test_rejected_samples_are_replaced_by_their_kind_and_named():
    dataset = mixed(rejected=[300], damaged=[301])
    for index, reason in (
        (8, 'pair\t300.jpg is cut'),
        (9, 'pair\t301.jpg was rejected by a transform'),
    ):
        for _ in range(8):
            sample = dataset[index]
            assert sample['kind'] == 'pair'
            assert sample['inputs']['number'] in (200, 201, 302)
            skipped = sample['data_samples'].skipped
            assert skipped[0] == reason
            assert all('300' in x or '301' in x for x in skipped)
    assert 'skipped' not in dataset[10]['data_samples']


def test_the_seed_draws_the_replacement():
    dataset = SeededDataset(mixed(rejected=[300, 301]))
    drawn = [
        [
            int(dataset[SampleIndex(8, 0, epoch)]['inputs']['number'])
            for epoch in range(20)
        ]
        for _ in range(2)
    ]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 3


def test_errors_name_the_sample():
    with pytest.raises(SampleError, match=r"pair 301\.jpg: KeyError: 'img'"):
        SeededDataset(mixed(broken=[301]))[9]
    images = Part(0, 3, rejected=range(3))
    with pytest.raises(
        SampleError, match=r"'image' and 5 drawn .*because: 0\.jpg is cut"
    ):
        MixedDataset(dict(image=images), max_refetch=5)[0]


def test_a_replacement_is_drawn_without_listing_all(monkeypatch):
    size = 14_000_000
    dataset = MixedDataset(dict(image=Part(0, size, rejected=[0])))
    arrays = []
    draw = np.random.randint
    monkeypatch.setattr(
        np.random, 'randint', lambda *x: arrays.append(x) or draw(*x)
    )
    monkeypatch.setattr(np.random, 'choice', None)
    assert 0 < dataset[0]['inputs']['number'] < size
    assert arrays == [(size,)]


@pytest.mark.parametrize('rejected', [(), (300,)])
def test_a_pipeline_without_its_last_step_is_named(monkeypatch, rejected):
    monkeypatch.setattr(Part, 'pipeline', lambda self, info: info)
    with pytest.raises(SampleError, match=r'pair 30\d\.jpg.*PackMultimodal'):
        SeededDataset(
            MixedDataset(dict(pair=Part(300, 2, rejected=rejected)))
        )[0]


def test_what_was_left_out_at_the_start():
    kinds = ['image', 'text', 'pair', 'pair']
    assert mixed().left_out == [f'{kind}\ta file' for kind in kinds]


@pytest.mark.parametrize(
    'datasets, message',
    [
        ({}, r'datasets of \[\] must be'),
        (dict(picture=Part(0, 1)), r"\['picture'\] must be one or more"),
        (dict(text=[Part(0, 0)]), 'data sets of text hold no sample'),
    ],
)
def test_wrong_parts_are_refused(datasets, message):
    with pytest.raises(ValueError, match=message):
        MixedDataset(datasets)


def collate(samples):
    return FUNCTIONS.get('beit3_mm.collate_kinds')(samples)


def test_batches_are_sorted_by_kind():
    dataset = mixed()
    batch = collate([dataset[i] for i in (9, 1, 5, 0)])
    inputs = {k: x['number'].tolist() for k, x in batch['inputs'].items()}
    assert inputs == dict(image=[1, 0], text=[101], pair=[301])
    samples = {
        kind: [sample.number for sample in group]
        for kind, group in batch['data_samples'].items()
    }
    assert samples == inputs
    assert set(collate([dataset[4]])['inputs']) == {'text'}
    with pytest.raises(ValueError, match=r'kind \{None\} must be'):
        collate([dict(inputs=np.zeros(1))])


def pair(length, **inputs):
    inputs = dict(text_ids=torch.full((length,), length), **inputs)
    return dict(kind='pair', inputs=inputs, data_samples=None)


def test_what_is_of_one_shape_is_stacked():
    images = torch.arange(24).reshape(2, 3, 2, 2)
    samples = [pair(n, image=x) for n, x in zip((4, 3), images)]
    inputs = collate(samples)['inputs']['pair']
    assert torch.equal(inputs['image'], images)
    assert [x.tolist() for x in inputs['text_ids']] == [[4] * 4, [3] * 3]
    same = collate([samples[0]] * 3)['inputs']['pair']['text_ids']
    assert same.shape == (3, 4)
    with pytest.raises(ValueError, match=r"'pair' hold \['image', 'text_ids'"):
        collate([*samples, pair(4)])


def test_the_data_preprocessor_takes_it():
    samples = [
        pair(n, image=torch.full((3, 2, 2), n, dtype=torch.uint8))
        for n in (4, 3, 4)
    ]
    preprocess = MODELS.build(
        dict(
            type='beit3_mm.MaskedModelingDataPreprocessor',
            mean=[0, 0, 0],
            std=[1, 1, 1],
        )
    )
    for batch in (samples, samples[::2]):
        inputs = preprocess(collate(batch))['inputs']['pair']
        listed = dict(inputs=dict(pair=[x['inputs'] for x in batch]))
        expected = preprocess(listed)['inputs']['pair']
        assert inputs.keys() == expected.keys()
        for key, value in expected.items():
            if value is None:
                assert inputs[key] is None
            else:
                assert torch.equal(inputs[key], value)
