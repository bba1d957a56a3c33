# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What all tasks have in common, for each of them."""

import cv2
import numpy as np
import pytest
import tiny_tasks
import torch
from PIL import Image

KINDS = list(tiny_tasks.KINDS)


@pytest.mark.parametrize('kind', KINDS)
def test_arrays_and_pil_images_are_as_their_files(
    inferencer, images, texts_of, assert_equal, kind
):
    texts = texts_of(kind)
    expected = inferencer(kind)(images, texts)
    arrays = [cv2.imread(str(path)) for path in images]
    assert_equal(inferencer(kind)(arrays, texts), expected)
    pil = [Image.open(path) for path in images]
    assert_equal(inferencer(kind)(pil, texts), expected)


@pytest.mark.parametrize('kind', KINDS)
def test_batches_are_as_single_samples(
    inferencer, images, texts_of, assert_equal, kind
):
    # Of another shape, which some pipelines keep
    sources = [*images[:3], cv2.imread(str(images[3]))[:, :30]]
    texts = texts_of(kind)
    expected = inferencer(kind)(sources, texts, batch_size=1)
    for batch_size in (3, 9):
        actual = inferencer(kind)(sources, texts, batch_size)
        assert_equal(actual, expected)


@pytest.mark.parametrize('kind', KINDS)
def test_predictions_depend_on_the_image(inferencer, images, texts_of, kind):
    texts, ask = texts_of(kind)[:1], inferencer(kind)
    number = 2 if kind == 'nlvr2' else 1
    answers = [ask(images[i : i + number], texts)[0].to_dict() for i in (0, 2)]
    for answer in answers:
        del answer['images']
    assert answers[0] != answers[1]


@pytest.mark.parametrize('kind', KINDS)
def test_order_and_questions(inferencer, images, texts_of, kind):
    predictions = inferencer(kind)(images, texts_of(kind), batch_size=3)
    names = [str(path) for path in images]
    found = [x.name for y in predictions for x in y.images]
    assert found == names
    for prediction in predictions:
        assert prediction.summary().endswith(f': {prediction.answer()}')
        plain = prediction.to_dict()
        assert plain['images'] == [x.name for x in prediction.images]
        assert plain.get('text') == prediction.text


def test_one_image_needs_no_list(inferencer, images, assert_equal):
    ask = inferencer('vqa')
    (expected,) = ask([images[0]], ['above'])
    (actual,) = ask(str(images[0]), 'above')
    assert_equal(actual, expected)


def test_images_are_read_when_they_are_needed(inferencer, images, tmp_path):
    broken = tmp_path / 'broken.png'
    broken.write_bytes(images[0].read_bytes()[:200])
    predictions = inferencer('caption').predict([images[0], broken])
    assert next(predictions).caption
    with pytest.raises(ValueError, match=r'broken\.png .* is truncated'):
        next(predictions)


def test_the_callers_gradients_stay_on(inferencer, images):
    for _ in inferencer('retrieval').predict(images[:2], ['above']):
        assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ('kind', 'number', 'texts', 'message'),
    [
        ('vqa', 1, [], 'VQA needs a text: give --text'),
        ('vqa', 0, ['above'], 'VQA needs an image'),
        ('vqa', 2, ['a', 'b', 'c'], '2 images do not fit 3 texts: VQA'),
        ('nlvr2', 2, [], 'NLVR2 needs a text'),
        ('nlvr2', 0, ['above'], 'NLVR2 needs an image'),
        ('nlvr2', 3, ['above'], 'two images per text.* there are 3 images'),
        ('nlvr2', 4, ['a', 'b', 'c'], '2 pairs of images do not fit 3'),
        ('retrieval', 0, [], 'retrieval needs images, texts or both'),
        ('caption', 0, [], 'captioning needs an image'),
        ('caption', 1, ['above'], "captioning takes images only.*'above'"),
        ('detection', 1, ['above'], 'detection takes images only'),
        ('segmentation', 0, [], 'segmentation needs an image'),
        ('names', 1, ['above'], 'classification takes images only'),
        ('linear', 0, [], 'classification needs an image'),
    ],
)
def test_what_a_task_does_not_take_is_told(
    inferencer, images, kind, number, texts, message
):
    with pytest.raises(ValueError, match=message):
        inferencer(kind)(images[:number], texts)


def test_other_wrong_input_is_told(inferencer, images):
    ask = inferencer('vqa')
    with pytest.raises(FileNotFoundError, match=r'no image gone\.png'):
        ask([images[0], 'gone.png'], 'above')
    with pytest.raises(TypeError, match='a text must be a str, not int: 3'):
        ask(images, [3])
    for texts in (3, None):
        with pytest.raises(TypeError, match=f'texts must be str.* {texts}'):
            ask(images, texts)
    for wrong in (3, None):
        with pytest.raises(TypeError, match=f'images must be .* not {wrong}'):
            ask(wrong, 'above')
    with pytest.raises(ValueError, match='batch_size=0 must be at least 1'):
        ask(images, 'above', batch_size=0)
    with pytest.raises(ValueError, match=r'float64 \(4, 4, 3\)'):
        ask(np.zeros((4, 4, 3)), 'above')
