# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import BaseDataElement

from beit3_mm.datasets.transforms import PackMultimodalInputs
from beit3_mm.models.beit3 import BEiT3
from beit3_mm.models.multimodal import MultimodalDataPreprocessor
from beit3_mm.registry import MODELS

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


@pytest.fixture
def preprocess():
    return MultimodalDataPreprocessor(MEAN, STD)


def sample(**inputs):
    return dict(inputs=inputs, data_samples=BaseDataElement())


def ids(*lengths):
    return [torch.arange(10, 10 + length) for length in lengths]


def image(seed, size=(3, 6, 5)):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, size, np.uint8))


def test_config_builds():
    preprocess = MODELS.build(
        dict(type='beit3_mm.MultimodalDataPreprocessor', mean=MEAN, std=STD)
    )
    assert isinstance(preprocess, MultimodalDataPreprocessor)
    assert preprocess.state_dict() == {}


@pytest.mark.parametrize('size', [(3, 6, 5), (2, 3, 6, 5)])
def test_images_are_normalised_as_rgb(preprocess, size):
    images = [image(i, size) for i in range(3)]
    batch = preprocess(pseudo_collate([sample(image=i) for i in images]))
    result = batch['inputs']['image']
    assert result.dtype == torch.float32
    assert result.shape == (3, *size)
    for i, item in enumerate(images):
        for channel in range(3):
            expected = (
                item[..., 2 - channel, :, :].double() - MEAN[channel]
            ) / STD[channel]
            torch.testing.assert_close(
                result[i, ..., channel, :, :].double(),
                expected,
                atol=1e-6,
                rtol=0,
            )
    assert set(batch['inputs']) == {'image'}


def test_channels_may_stay():
    preprocess = MultimodalDataPreprocessor([0] * 3, [1] * 3, bgr_to_rgb=False)
    item = image(0)
    batch = preprocess(pseudo_collate([sample(image=item)]))
    assert torch.equal(batch['inputs']['image'][0], item.float())


def test_the_models_dtype_does_not_round_the_mean(preprocess):
    data = pseudo_collate([sample(image=image(0))])
    expected = preprocess(data)['inputs']['image']
    for cast in (preprocess.bfloat16, preprocess.half, preprocess.double):
        cast()
        assert torch.equal(preprocess(data)['inputs']['image'], expected)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(preprocess(data)['inputs']['image'], expected)


def test_texts_are_padded_to_the_longest(preprocess):
    samples = [
        sample(text_ids=row, target_ids=row + 50, text_mask=row > 10)
        for row in ids(3, 5, 2)
    ]
    batch = preprocess(pseudo_collate(samples))['inputs']
    assert batch['text_ids'].tolist() == [
        [10, 11, 12, 1, 1],
        [10, 11, 12, 13, 14],
        [10, 11, 1, 1, 1],
    ]
    assert batch['target_ids'].tolist() == [
        [60, 61, 62, 1, 1],
        [60, 61, 62, 63, 64],
        [60, 61, 1, 1, 1],
    ]
    assert batch['text_padding_mask'].tolist() == [
        [False, False, False, True, True],
        [False] * 5,
        [False, False, True, True, True],
    ]
    assert batch['text_mask'].tolist() == [
        [False, True, True, False, False],
        [False, True, True, True, True],
        [False, True, False, False, False],
    ]
    for key in ('text_mask', 'text_padding_mask'):
        assert batch[key].dtype == torch.bool
    assert batch['text_ids'].dtype == torch.int64


def test_no_mask_where_nothing_is_padded(preprocess):
    batch = preprocess(
        pseudo_collate([sample(text_ids=row) for row in ids(4, 4)])
    )['inputs']
    assert batch['text_ids'].shape == (2, 4)
    assert batch['text_padding_mask'] is None


def test_the_padding_id_can_be_chosen():
    preprocess = MultimodalDataPreprocessor(MEAN, STD, pad_token_id=7)
    batch = preprocess(
        pseudo_collate([sample(text_ids=row) for row in ids(1, 2)])
    )['inputs']
    assert batch['text_ids'].tolist() == [[10, 7], [10, 11]]


def test_several_texts_of_a_sample_follow_each_other(preprocess):
    samples = [
        sample(text_ids=torch.tensor([[0, 5, 2], [0, 2, -1]])),
        sample(text_ids=torch.zeros(0, 0, dtype=torch.int64)),
        sample(text_ids=torch.tensor([[0, 7, 8, 2]])),
    ]
    batch = preprocess(pseudo_collate(samples))['inputs']
    assert batch['text_ids'].tolist() == [
        [0, 5, 2, 1],
        [0, 2, 1, 1],
        [0, 7, 8, 2],
    ]
    assert batch['text_padding_mask'].sum(1).tolist() == [1, 2, 0]


def test_packed_texts_come_out_as_they_went_in(preprocess):
    pack = PackMultimodalInputs()
    texts = [row.numpy() for row in ids(3, 5, 2, 4)]
    samples = [pack(dict(text_ids=texts[:3])), pack(dict(text_ids=texts[3:]))]
    batch = preprocess(pseudo_collate(samples))
    rows, mask = (
        batch['inputs'][key] for key in ('text_ids', 'text_padding_mask')
    )
    for text, row, padding in zip(texts, rows, mask, strict=True):
        assert np.array_equal(row[~padding].numpy(), text)
    assert [item.num_texts for item in batch['data_samples']] == [3, 1]


def test_images_without_any_text(preprocess):
    empty = torch.zeros(0, 0, dtype=torch.int64)
    data = pseudo_collate([sample(image=image(0), text_ids=empty)] * 2)
    assert set(preprocess(data)['inputs']) == {'image'}


def test_padding_changes_no_feature(preprocess, tiny_arch):
    torch.manual_seed(0)
    model = BEiT3(**tiny_arch, vocab_size=40, max_text_positions=20).eval()
    rows = ids(3, 7)
    samples = [
        sample(image=image(i, (3, 32, 32)), text_ids=row)
        for i, row in enumerate(rows)
    ]
    both = model(**preprocess(pseudo_collate(samples))['inputs'])
    for i, row in enumerate(rows):
        alone = model(
            **preprocess(pseudo_collate(samples[i : i + 1]))['inputs']
        )
        torch.testing.assert_close(
            both.language[i, : len(row)], alone.language[0]
        )
        torch.testing.assert_close(both.vision[i], alone.vision[0])


def test_a_list_of_samples_is_taken_too(preprocess):
    samples = [
        sample(image=image(i), text_ids=row) for i, row in enumerate(ids(2, 4))
    ]
    collated = preprocess(pseudo_collate(samples))['inputs']
    listed = preprocess(dict(inputs=[item['inputs'] for item in samples]))
    assert listed['data_samples'] is None
    for key, value in listed['inputs'].items():
        assert torch.equal(value, collated[key])


def test_everything_moves_to_the_models_device():
    preprocess = MultimodalDataPreprocessor(MEAN, STD).to('meta')
    samples = [
        sample(image=image(0), text_ids=row, text_mask=row > 10)
        for row in ids(2, 3)
    ]
    for item in samples:
        item['data_samples'].gt_label = torch.tensor(1)
    batch = preprocess(pseudo_collate(samples), training=True)
    assert set(batch['inputs']) == {
        'image',
        'text_ids',
        'text_mask',
        'text_padding_mask',
    }
    for value in batch['inputs'].values():
        assert value.device.type == 'meta'
    assert batch['data_samples'][1].gt_label.device.type == 'meta'


def test_images_of_different_sizes_are_refused(preprocess):
    samples = [sample(image=image(0)), sample(image=image(1, (3, 6, 8)))]
    for item, path in zip(samples, ('a.jpg', 'b.jpg')):
        item['data_samples'].set_metainfo(dict(img_path=path))
    with pytest.raises(
        ValueError,
        match=r'\(3, 6, 5\) and \(3, 6, 8\) in one batch \(a.jpg and b.jpg\)',
    ):
        preprocess(pseudo_collate(samples))
    with pytest.raises(ValueError, match='in one batch: the pipeline'):
        preprocess(dict(inputs=[item['inputs'] for item in samples]))


def test_errors(preprocess):
    with pytest.raises(ValueError, match=r"\['image'\] and \['text_ids'\]"):
        preprocess(dict(inputs=[dict(image=1), dict(text_ids=2)]))
    with pytest.raises(ValueError, match=r"inputs hold \['text'\]; known"):
        preprocess(dict(inputs=dict(text=[1])))
    with pytest.raises(TypeError, match='pseudo_collate would mix up lists'):
        preprocess(pseudo_collate([sample(text_ids=ids(3, 4))] * 2))
    for mean, std in (([1], [1]), (MEAN, [1, 0, 1])):
        with pytest.raises(ValueError, match='need 3 values'):
            MultimodalDataPreprocessor(mean, std)
