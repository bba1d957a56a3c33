# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What becomes of wrong texts, and of samples without their image."""

import logging
from pathlib import Path

import pytest
from dataset_reading import messages

from beit3_mm.datasets import (
    KarpathyDataset,
    NLVR2Dataset,
    NoCapsDataset,
    SampleError,
    SampleIndex,
    SeededDataset,
)
from beit3_mm.tokenizer import BOS_ID, EOS_ID, UNK_ID

PACK = dict(type='beit3_mm.PackMultimodalInputs')


def load(**kwargs):
    return dict(type='beit3_mm.LoadImageFromFile', **kwargs)


@pytest.fixture
def build(tmp_path, write_json, write_image, tokenizer_file):
    """Builds a data set of texts, each with an image of its own."""

    def build(texts, skip_damaged=True, tokenizer=tokenizer_file, **kwargs):
        images = [
            dict(
                filename=Path(write_image(f'{i}.png')).name,
                split='train',
                imgid=i,
                sentences=[dict(raw=text)],
            )
            for i, text in enumerate(texts)
        ]
        tokenize = dict(
            type='beit3_mm.TokenizeText', model_file=str(tokenizer)
        )
        return KarpathyDataset(
            data_root=str(tmp_path),
            ann_file=write_json('dataset.json', dict(images=images)),
            pipeline=[load(skip_damaged=skip_damaged), tokenize, PACK],
            max_refetch=20,
            **kwargs,
        )

    return build


def ids(dataset, index=0):
    text_ids = dataset[index]['inputs']['text_ids']
    return text_ids.view(-1).tolist()


def test_an_empty_text_is_evaluated_as_two_special_ids(build):
    for text in ('', ' \n\t '):
        assert ids(build([text], test_mode=True)) == [BOS_ID, EOS_ID]


def test_training_of_empty_texts_alone_is_refused(build, log):
    with pytest.raises(ValueError, match=r'dataset\.json: there is no sample'):
        build(['', ' '])


def test_a_very_long_text_is_cut_at_its_end(build):
    short, long = (
        ids(build(['red circle'])),
        ids(build(['red circle ' * 10**5])),
    )
    assert len(long) == 64
    assert long[0] == BOS_ID and long[-1] == EOS_ID
    assert long[1 : len(short) - 1] == short[1:-1]


@pytest.mark.parametrize(
    'text', ['\u5706\u5f62', '\U0001f534', '\ud800', '\0']
)
def test_characters_that_the_tokenizer_lacks_are_unknown(build, text):
    dataset = build([f'red {text} circle', 'red circle'])
    known = set(ids(dataset, 1))
    found = ids(dataset)
    assert known <= set(found)
    assert UNK_ID in found or text == '\0'  # no character, to SentencePiece


def test_a_missing_tokenizer_is_named_with_the_sample(build, tmp_path):
    dataset = build(['red'], tokenizer=tmp_path / 'no.spm', test_mode=True)
    with pytest.raises(SampleError, match=r'image_id 0 \(.*no\.spm: no such '):
        dataset[0]


@pytest.mark.parametrize('content', [None, b'', b'<html>'])
def test_training_draws_another_sample_for_a_broken_image(
    build, tmp_path, content, log
):
    dataset = SeededDataset(build([f'red {"circle " * i}' for i in range(5)]))
    path = tmp_path / '2.png'
    path.unlink() if content is None else path.write_bytes(content)
    index = SampleIndex(2, seed=0, epoch=0)
    drawn = [dataset[index]['data_samples'].img_path for _ in range(3)]
    assert len(set(drawn)) == 1
    assert not drawn[0].endswith('2.png')
    (text,) = messages(log, logging.WARNING)
    assert '2.png' in text and '1 skipped so far' in text


def test_evaluation_names_a_broken_image_and_its_sample(build, tmp_path):
    dataset = build(['red', 'blue'], skip_damaged=False, test_mode=True)
    (tmp_path / '1.png').write_bytes(b'')
    with pytest.raises(SampleError) as failure:
        dataset[1]
    text = str(failure.value)
    assert 'dataset.json, image_id 1 (' in text
    assert '1.png): ValueError: ' in text and '(0 bytes)' in text


def test_a_caption_file_without_an_image(tmp_path, write_json):
    (tmp_path / 'val').mkdir()
    dataset = NoCapsDataset(
        data_root=str(tmp_path),
        ann_file=write_json(
            'nocaps.json', dict(images=[dict(id=8, file_name='8.jpg')])
        ),
        data_prefix=dict(img_path='val'),
        test_mode=True,
        pipeline=[load(), PACK],
    )
    with pytest.raises(
        SampleError, match=r'nocaps\.json, image_id 8 .*8\.jpg\): FileNotFound'
    ):
        dataset[0]


def test_a_pair_without_one_of_its_images(
    tmp_path, write_json, write_image, log
):
    write_image('dev-0-0-img0.png')
    line = dict(identifier='dev-0-0-1', sentence='two', label='True')

    def build(test_mode):
        images = [load(skip_damaged=not test_mode)]
        pair = dict(type='beit3_mm.TransformImages', transforms=images)
        return NLVR2Dataset(
            data_root=str(tmp_path),
            ann_file=write_json('dev', [line]),
            pipeline=[pair, PACK],
            test_mode=test_mode,
            max_refetch=3,
        )

    with pytest.raises(SampleError) as failure:
        build(test_mode=True)[0]
    assert "identifier 'dev-0-0-1' (['" in str(failure.value)
    assert "img1.png'" in str(failure.value)
    # There is no other pair to be drawn
    with pytest.raises(SampleError, match=r'img1\.png.*were all rejected'):
        SeededDataset(build(test_mode=False))[0]
