# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
from mmengine.dataset import BaseDataset

from beit3_mm.datasets import SampleIndex, SeededDataset
from beit3_mm.datasets.transforms import MaskText, TokenizeText
from beit3_mm.registry import TRANSFORMS
from beit3_mm.tokenizer import Tokenizer

MASK = 64001
RELEASED = dict(mask_prob=0.7, mask_special=True, mask_id=MASK)


@pytest.fixture
def tokenize(tokenizer_file):
    return TokenizeText(str(tokenizer_file), max_tokens=8)


def text_of(length):
    """Returns a text of `length` ids, special ones included."""
    return np.array([0, *range(100, 98 + length), 2])


def mask(text_ids, **kwargs):
    results = MaskText(**{**RELEASED, **kwargs})(dict(text_ids=text_ids))
    return results['text_ids'], results['target_ids'], results['text_mask']


# Tokenising


def test_text_becomes_ids_between_the_special_ones(tokenize, tokenizer_file):
    ids = Tokenizer(tokenizer_file).encode('the red circle')
    results = tokenize(dict(text='the red circle', image_id=3))
    assert results['text_ids'].tolist() == [0, *ids, 2]
    assert results['text_ids'].dtype == np.int64
    assert results['image_id'] == 3


@pytest.mark.parametrize('kind', [list, tuple])
def test_several_texts_become_a_list(tokenize, kind):
    texts = ['the red circle', '', 'a blue square']
    several = tokenize(dict(text=kind(texts)))['text_ids']
    assert isinstance(several, list)
    for text, ids in zip(texts, several):
        assert np.array_equal(ids, tokenize(dict(text=text))['text_ids'])
    assert tokenize(dict(text=kind()))['text_ids'] == []


def test_empty_long_and_unknown_text(tokenize):
    assert tokenize(dict(text=''))['text_ids'].tolist() == [0, 2]
    long = tokenize(dict(text='red square ' * 5000))['text_ids']
    assert len(long) == 8
    assert long[0] == 0
    assert long[-1] == 2
    assert 3 in tokenize(dict(text='☃'))['text_ids']


def test_official_segments_need_no_model_file():
    tokenize = TokenizeText(max_tokens=5)
    ids = tokenize(dict(text_segment=[7, 8], text='ignored'))['text_ids']
    assert ids.tolist() == [0, 7, 8, 2]
    assert tokenize(dict(text_segment=[]))['text_ids'].tolist() == [0, 2]
    several = tokenize(dict(text_segment=[[4, 5, 6, 7], [8]]))['text_ids']
    assert [ids.tolist() for ids in several] == [[0, 4, 5, 6, 2], [0, 8, 2]]


def test_building_needs_no_file_but_reading_does(tmp_path):
    path = str(tmp_path / 'beit3.spm')
    tokenize = TRANSFORMS.build(
        dict(type='beit3_mm.TokenizeText', model_file=path)
    )
    assert len(tokenize(dict(text_segment=[5]))['text_ids']) == 3
    with pytest.raises(FileNotFoundError, match=r'beit3\.spm: no such'):
        tokenize(dict(text='red'))


@pytest.mark.parametrize('segment', [[5, -1], [5, 'red'], [[5], [1.5]]])
def test_segments_of_something_else_are_refused(segment):
    with pytest.raises(ValueError, match='must hold token ids >= 0, not'):
        TokenizeText()(dict(text_segment=segment))


def test_text_errors(tokenize):
    with pytest.raises(ValueError, match=r"the sample has \['img_path'\]"):
        tokenize(dict(img_path='a.jpg'))
    with pytest.raises(ValueError, match='has no model_file'):
        TokenizeText()(dict(text='red', text_segment=None))
    with pytest.raises(TypeError, match='must be a str, not int: 5'):
        tokenize(dict(text=['red', 5]))
    with pytest.raises(ValueError, match='max_tokens=2 must be at least 3'):
        TokenizeText(max_tokens=2)


# Masking


@pytest.mark.parametrize(
    ('length', 'prob', 'number'),
    [
        (12, 0.7, 8),  # int(8.4 + 0.5)
        (12, 0.6, 7),  # int(7.2 + 0.5)
        (32, 0.7, 22),
        (3, 0.1, 1),  # at least one
        (5, 1.0, 4),  # never <s>
        (2, 0.7, 1),  # an empty text: only </s> is there
    ],
)
def test_captioning_masks_the_official_number(length, prob, number):
    target = text_of(length)
    drawn = set()
    for seed in range(40):
        np.random.seed(seed)
        ids, target_ids, text_mask = mask(target.copy(), mask_prob=prob)
        assert text_mask.dtype == bool
        assert text_mask.sum() == number
        assert np.array_equal(target_ids, target)
        assert np.array_equal(ids[~text_mask], target[~text_mask])
        drawn |= set(np.flatnonzero(text_mask))
    assert drawn == set(range(1, length))  # </s> too, <s> never


@pytest.mark.parametrize(
    ('length', 'prob', 'number'),
    [(12, 0.15, 2), (12, 0.5, 5), (3, 0.15, 1), (4, 1.0, 2), (2, 0.5, 0)],
)
def test_masked_data_modeling_spares_the_end(length, prob, number):
    drawn = set()
    for seed in range(40):
        np.random.seed(seed)
        _, _, text_mask = mask(
            text_of(length), mask_prob=prob, mask_special=False
        )
        assert text_mask.sum() == number
        drawn |= set(np.flatnonzero(text_mask))
    assert drawn == set(range(1, length - 1))


def test_every_position_is_drawn_equally_often():
    np.random.seed(0)
    counts = sum(mask(text_of(11), mask_prob=0.3)[2] for _ in range(2000))
    # 3 of 10 positions: 600 of 2000 expected, standard deviation 20
    assert counts[0] == 0
    assert np.abs(counts[1:] - 600).max() < 100


def test_shares_of_masked_kept_and_random_ids():
    np.random.seed(0)
    target = np.full(100_001, 500)
    ids, _, text_mask = mask(target, mask_prob=0.9, mask_id=1000)
    chosen = ids[text_mask]
    assert len(chosen) == 90_001
    assert abs((chosen == 1000).mean() - 0.8) < 0.01
    assert abs((chosen == 500).mean() - 0.1) < 0.01
    words = np.unique(chosen)
    assert words[0] == 3  # the first above the special ids
    assert words[-2] == 999  # the last word
    assert words[-1] == 1000


def test_the_mask_comes_from_the_tokenizer(tokenizer_file):
    np.random.seed(0)
    transform = TRANSFORMS.build(
        dict(
            type='beit3_mm.MaskText',
            model_file=str(tokenizer_file),
            mask_prob=0.9,
            mask_special=True,
        )
    )
    ids = transform(dict(text_ids=np.full(200, 9)))['text_ids']
    assert ids.max() == Tokenizer(tokenizer_file).mask_id


def test_masks_are_those_of_the_sample_not_of_the_worker(tokenizer_file):
    class Texts(BaseDataset):
        def load_data_list(self):
            return [dict(text='a red circle is left of it') for _ in range(3)]

    file = str(tokenizer_file)
    pipeline = [
        TokenizeText(file),
        MaskText(file, mask_prob=0.5, mask_special=True),
    ]
    dataset = SeededDataset(Texts(pipeline=pipeline))

    def draw(index, epoch):
        sample = dataset[SampleIndex(index, seed=1, epoch=epoch)]
        return sample['text_ids'].tolist(), sample['text_mask'].tolist()

    first = draw(0, 0)
    np.random.seed(7)
    assert draw(0, 0) == first
    assert draw(0, 1) != first
    assert draw(1, 0) != first


@pytest.mark.parametrize('wrong', [64001, 70000])
def test_ids_of_another_tokenizer_are_refused(wrong):
    ids = text_of(12)
    ids[5] = wrong
    with pytest.raises(ValueError, match=f'holds the id {wrong}.* 64001'):
        mask(ids, mask_prob=0.5, mask_id=64001)


def test_mask_errors():
    for prob in (0.0, 1.1):
        with pytest.raises(ValueError, match=f'mask_prob={prob} must be'):
            MaskText(mask_prob=prob, mask_special=True, mask_id=9)
    for files in (dict(), dict(model_file='a.spm', mask_id=9)):
        with pytest.raises(ValueError, match='needs either model_file or'):
            MaskText(mask_prob=0.5, mask_special=True, **files)
    with pytest.raises(ValueError, match='masks one text; the sample has 2'):
        mask([text_of(3), text_of(4)])
