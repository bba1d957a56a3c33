# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import BaseDataElement

from beit3_mm.datasets.transforms import PackMultimodalInputs
from beit3_mm.registry import TRANSFORMS


def pack(**results):
    packed = PackMultimodalInputs()(results)
    return packed['inputs'], packed['data_samples']


def test_it_packs_only_what_is_there():
    transform = TRANSFORMS.build(dict(type='beit3_mm.PackMultimodalInputs'))
    packed = transform(dict(img_path='a.jpg', height=4))
    assert packed['inputs'] == {}
    assert type(packed['data_samples']) is BaseDataElement
    assert packed['data_samples'].to_dict() == dict(img_path='a.jpg')


def test_image():
    img = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    image = pack(img=img)[0]['image']
    assert image.dtype == torch.uint8
    assert image.is_contiguous()
    assert np.array_equal(image.permute(1, 2, 0).numpy(), img)
    pair = pack(img=np.stack([img, img + 1]))[0]['image']
    assert pair.shape == (2, 3, 4, 5)
    assert torch.equal(pair[0], image)
    assert torch.equal(pair[1], image + 1)


@pytest.mark.parametrize(
    'img',
    [
        np.zeros((4, 5, 3), np.float32),
        np.zeros((4, 5), np.uint8),
        np.zeros((3, 4, 5), np.uint8),
    ],
)
def test_other_images_are_refused(img):
    with pytest.raises(ValueError, match='img must be uint8 of shape'):
        pack(img=img)


def test_one_masked_text():
    inputs, sample = pack(
        text_ids=np.array([0, 9, 2]),
        target_ids=np.array([0, 7, 2]),
        text_mask=np.array([False, True, False]),
    )
    assert inputs['text_ids'].tolist() == [0, 9, 2]
    assert inputs['text_ids'].dtype == torch.int64
    assert inputs['target_ids'].tolist() == [0, 7, 2]
    assert inputs['text_mask'].tolist() == [False, True, False]
    assert 'num_texts' not in sample


def test_several_texts_pass_the_collation():
    texts = [np.array([0, 4, 5, 2]), np.array([0, 2]), np.array([0, 6, 2])]
    inputs, sample = pack(text_ids=texts)
    assert inputs['text_ids'].tolist() == [
        [0, 4, 5, 2],
        [0, 2, -1, -1],
        [0, 6, 2, -1],
    ]
    assert inputs['text_ids'].dtype == torch.int64
    assert sample.num_texts == 3
    batch = pseudo_collate(
        [PackMultimodalInputs()(dict(text_ids=texts[:k])) for k in (1, 3, 0)]
    )
    shapes = [tuple(item.shape) for item in batch['inputs']['text_ids']]
    assert shapes == [(1, 4), (3, 4), (0, 0)]
    assert [item.num_texts for item in batch['data_samples']] == [1, 3, 0]


def test_labels_and_meta_information():
    meta = dict(
        img_paths=['a.png', 'b.png'],
        image_id=3,
        question_id=4,
        identifier='dev-1',
        answers=['yes'] * 10,
        captions=['a cat', 'cats'],
    )
    _, sample = pack(
        **meta,
        gt_label=1,
        answer_labels=[5, 2],
        answer_scores=[1.0, 0.3],
        text='not kept',
    )
    assert sample.metainfo == meta
    assert sample.gt_label.dtype == torch.int64
    assert sample.gt_label.shape == (1,)  # as mmpretrain's
    assert sample.gt_label == 1
    assert sample.gt_labels.tolist() == [5, 2]
    assert sample.gt_labels.dtype == torch.int64
    assert torch.equal(sample.gt_scores, torch.tensor([1.0, 0.3]))
    assert set(sample.keys()) == {'gt_label', 'gt_labels', 'gt_scores'}


def test_a_question_without_listed_answers():
    _, sample = pack(answer_labels=[], answer_scores=[])
    assert sample.gt_labels.shape == sample.gt_scores.shape == (0,)
    assert sample.gt_labels.dtype == torch.int64


def test_meta_keys_can_be_chosen():
    packed = PackMultimodalInputs(meta_keys=['text'])(
        dict(text='red', img_path='a.jpg')
    )
    assert packed['data_samples'].to_dict() == dict(text='red')
