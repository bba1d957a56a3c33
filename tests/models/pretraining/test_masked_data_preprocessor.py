# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmengine.structures import BaseDataElement

from beit3_mm.models.multimodal import MultimodalDataPreprocessor
from beit3_mm.models.pretraining import MaskedModelingDataPreprocessor
from beit3_mm.registry import MODELS

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
LENGTHS = dict(text=(9, 4), pair=(3, 2))


def sample(kind, i, ids=False):
    generator = torch.Generator().manual_seed(i)
    inputs = {}
    if kind != 'text':
        inputs['image'] = pixels(generator, 6)
        inputs['image_mask'] = torch.rand(4, generator=generator) < 0.5
        if ids:
            inputs['visual_ids'] = torch.arange(4) + i
        else:
            inputs['tokenizer_image'] = pixels(generator, 8)
    if kind != 'image':
        text_ids = torch.arange(10, 10 + LENGTHS[kind][i])
        inputs['text_ids'] = text_ids
        inputs['target_ids'] = text_ids + 50
        inputs['text_mask'] = text_ids > 10
    return inputs


def pixels(generator, size):
    shape = 3, size, size
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


def data(kinds=('image', 'text', 'pair'), ids=False):
    return dict(
        inputs={
            kind: [sample(kind, i, ids) for i in range(2)] for kind in kinds
        },
        data_samples={
            kind: [
                BaseDataElement(metainfo=dict(img_path=f'{kind}{i}'))
                for i in range(2)
            ]
            for kind in kinds
        },
    )


@pytest.fixture
def preprocess():
    return MODELS.build(
        dict(
            type='beit3_mm.MaskedModelingDataPreprocessor', mean=MEAN, std=STD
        )
    )


def test_each_kind_is_a_batch_of_its_own(preprocess):
    batch = preprocess(data(), training=True)
    assert list(batch['inputs']) == ['image', 'text', 'pair']
    alone = MultimodalDataPreprocessor(MEAN, STD)
    for kind, inputs in batch['inputs'].items():
        samples = [sample(kind, i) for i in range(2)]
        images = [
            (x.pop('image_mask'), x.pop('tokenizer_image'))
            for x in samples
            if kind != 'text'
        ]
        expected = alone(dict(inputs=samples))['inputs']
        for name, value in expected.items():
            assert torch.equal(inputs.pop(name), value), name
        if images:
            masks, views = zip(*images)
            assert torch.equal(inputs.pop('image_mask'), torch.stack(masks))
            view = torch.stack(views).flip(1) / 255  # BGR to RGB
            assert torch.equal(inputs.pop('tokenizer_image'), view)
        assert inputs == {}
        names = [x.img_path for x in batch['data_samples'][kind]]
        assert names == [f'{kind}0', f'{kind}1']
    # The texts of pairs are not padded to the length of the others.
    again = preprocess(data())['inputs']
    assert again['text']['text_ids'].shape == (2, 9)
    assert again['pair']['text_ids'].shape == (2, 3)


def test_precomputed_ids_take_the_place_of_a_view(preprocess):
    batch = preprocess(data(['image'], ids=True))['inputs']['image']
    assert set(batch) == {'image', 'image_mask', 'visual_ids'}
    assert batch['visual_ids'].tolist() == [[0, 1, 2, 3], [1, 2, 3, 4]]
    assert batch['visual_ids'].dtype == torch.int64


def test_channels_may_stay():
    preprocess = MaskedModelingDataPreprocessor(MEAN, STD, bgr_to_rgb=False)
    batch = preprocess(data(['image']))['inputs']['image']
    view = sample('image', 0)['tokenizer_image']
    assert torch.equal(batch['tokenizer_image'][0], view / 255)


def test_everything_moves_to_the_models_device(preprocess):
    model = MODELS.build(
        dict(
            type='beit3_mm.MaskedModelingDataPreprocessor', mean=MEAN, std=STD
        )
    ).to('meta')
    batch = model(data())['inputs']
    devices = {
        x.device.type
        for inputs in batch.values()
        for x in inputs.values()
        if x is not None
    }
    assert devices == {'meta'}


def test_samples_are_left_alone_and_optional(preprocess):
    given = data()
    preprocess(given)
    again = preprocess(dict(inputs=given['inputs']))
    assert again['data_samples'] is None
    assert 'image_mask' in again['inputs']['pair']


def test_errors(preprocess):
    mixed = data(['image'])
    mixed['inputs']['image'][1]['image_mask'] = torch.ones(9).bool()
    with pytest.raises(
        ValueError,
        match=r'image_mask of shapes \[\(4,\), \(9,\)\] in one batch of image',
    ):
        preprocess(mixed)
    mixed['inputs']['image'][1].pop('image_mask')
    with pytest.raises(ValueError, match='samples of one batch hold'):
        preprocess(mixed)
    with pytest.raises(ValueError, match=r"inputs hold \['audio'\]; known"):
        preprocess(dict(inputs=dict(text=[dict(audio=torch.ones(1))])))
