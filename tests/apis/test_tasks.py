# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Each task against the model, its pipeline and its lists, one by one."""

import numpy as np
import pytest
import tiny_tasks
import torch
from mmcv.transforms import Compose
from mmdet.apis import inference_detector
from mmengine.dataset import pseudo_collate
from pycocotools import mask as coco_mask

from beit3_mm.apis import Inferencer
from beit3_mm.apis.images import as_inputs
from beit3_mm.apis.predictions import Caption
from beit3_mm.apis.tasks import build_task
from beit3_mm.tokenizer import Tokenizer


@torch.no_grad()
def ask_directly(model, **results):
    """Runs the config's own pipeline and the model on a sample of files."""
    pipeline = Compose(model.cfg.test_dataloader.dataset.pipeline)
    data = model.data_preprocessor(pseudo_collate([pipeline(results)]), False)
    (sample,) = model(**data, mode='predict')
    return sample


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_detection(inferencer, images):
    ask = inferencer('detection')
    (found,) = ask(images[0])
    expected = inference_detector(ask.model, str(images[0])).pred_instances
    assert len(found.scores) == len(expected) == 4
    order = expected.scores.argsort(descending=True, stable=True)
    close(found.boxes, expected.bboxes[order])
    close(found.scores, expected.scores[order])
    assert np.array_equal(found.masks, expected.masks[order])
    assert found.masks.shape == (4, 36, 48)
    assert found.names == [tiny_tasks.NAMES[i] for i in expected.labels[order]]
    first = found.to_dict()['objects'][0]
    assert np.array_equal(coco_mask.decode(first['mask']), found.masks[0])
    assert first['box'] == found.boxes[0].tolist()


def test_segmentation(inferencer, images):
    ask = inferencer('segmentation')
    (found,) = ask(images[0])
    sample = ask_directly(ask.model, img_path=str(images[0]))
    assert np.array_equal(found.labels, sample.pred_sem_seg.data[0])
    assert found.labels.shape == (36, 48)
    shares = found.to_dict()['shares']
    assert sum(shares.values()) == pytest.approx(1)
    for label, name in found.names.items():
        assert name == tiny_tasks.NAMES[label]
        assert shares[name] == (found.labels == label).mean()
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert found.palette.tolist()[1] == [0, 255, 0]


def test_answers(inferencer, images):
    ask = inferencer('vqa')
    (found,) = ask(images[0], 'how many red')
    sample = ask_directly(
        ask.model, img_path=str(images[0]), text='how many red'
    )
    order = sample.pred_scores.argsort(descending=True)[:5]
    assert found.names == [tiny_tasks.ANSWERS[i] for i in order]
    assert found.names[0] == tiny_tasks.ANSWERS[sample.pred_label]
    close(found.scores, sample.pred_scores[order])
    assert found.text == 'how many red'


def test_several_questions_and_several_images(inferencer, images):
    ask, texts = inferencer('vqa'), ['above', 'how many red']
    for sources, questions in (
        (images[:1], texts),
        (images[:2], texts),
        (images[:2], texts[:1]),
    ):
        found = ask(sources, questions, batch_size=2)
        number = max(len(sources), len(questions))
        assert [x.images[0].name for x in found] == [
            str(x) for x in (list(sources) * number)[:number]
        ]
        assert [x.text for x in found] == (questions * number)[:number]


def test_unusual_texts(inferencer, images, assert_equal):
    ask = inferencer('vqa')
    texts = ['', '  ', 'red ' * 500, 'red ' * 600, '\u6f22', '\u5b57']
    found = [x.scores for x in ask(images[0], texts, batch_size=4)]
    # Without words; cut to the same 32 ids; one unknown character
    for i in (0, 2, 4):
        assert_equal(found[i], found[i + 1])
    assert found[0] != found[2] != found[4] != found[0]


def test_judgements(inferencer, images):
    ask = inferencer('nlvr2')
    first, second = ask(images, ['above', 'red circle'])
    for found, pair in ((first, images[:2]), (second, images[2:])):
        sample = ask_directly(
            ask.model, img_paths=[str(x) for x in pair], text=found.text
        )
        close(found.score, sample.pred_scores[1])
        assert found.is_true == bool(sample.pred_label)
        likely = max(sample.pred_scores).item()
        verdict = 'true' if found.is_true else 'false'
        assert found.answer() == f'{verdict} ({likely:.2f})'
        assert [x.name for x in found.images] == [str(x) for x in pair]
    assert [x.text for x in ask(images[:2], ['a', 'b'])] == ['a', 'b']


def test_captions(inferencer, images, tokenizer_file):
    ask = inferencer('caption')
    for found, path in zip(ask(images, batch_size=4), images):
        sample = ask_directly(ask.model, img_path=str(path))
        expected = Tokenizer(tokenizer_file).decode(sample.pred_ids)
        assert found.caption == expected
        assert found.answer() == (expected or '(no words)')
    assert expected


def test_rankings(inferencer, images):
    ask, texts = inferencer('retrieval'), ['above', 'red circle', 'how many']
    found = ask(images, texts, batch_size=2)
    assert len(found) == 7
    cosines = np.empty((4, 3))
    for i, path in enumerate(images):
        sample = ask_directly(ask.model, img_path=str(path), text=texts)
        cosines[i] = sample.text_embeddings @ sample.image_embedding
    for ranking, row in zip(found[:4], cosines):
        assert ranking.text is None
        assert ranking.indices == np.argsort(-row).tolist()
        assert ranking.candidates == [texts[i] for i in ranking.indices]
        close(ranking.similarities, -np.sort(-row))
    for ranking, text, column in zip(found[4:], texts, cosines.T):
        assert ranking.text == text
        assert ranking.images == ()
        assert ranking.indices == np.argsort(-column).tolist()
        names = [x.name for x in ranking.candidates]
        assert names == [str(images[i]) for i in ranking.indices]
        close(ranking.similarities, -np.sort(-column))
        assert ranking.answer().startswith(f'1. {names[0]} (')


@pytest.mark.parametrize('kind', ['names', 'linear'])
def test_classes(inferencer, images, kind):
    ask = inferencer(kind)
    (found,) = ask(images[0])
    sample = ask_directly(ask.model, img_path=str(images[0]))
    scores = sample.pred_score
    order = scores.argsort(descending=True)
    assert found.names == [tiny_tasks.NAMES[i] for i in order]
    close(found.scores, scores[order])


def test_classes_without_names_have_numbers(inferencer, images):
    ask, model = inferencer('linear'), inferencer('linear').model
    meta, model.dataset_meta = model.dataset_meta, {}
    (found,) = ask(images[0])
    model.dataset_meta = meta
    named = ask(images[0])[0].names
    assert found.names == [f'class {tiny_tasks.NAMES.index(x)}' for x in named]


@pytest.mark.parametrize('kind', ['linear', 'detection', 'segmentation'])
def test_wrong_numbers_of_names_are_told(inferencer, images, kind):
    model = inferencer(kind).model
    meta, model.dataset_meta = model.dataset_meta, dict(classes=['one'])
    message = '3 classes apart.*1 names' if kind == 'linear' else '1 classes'
    try:
        with pytest.raises(ValueError, match=message):
            inferencer(kind)(images)
    finally:
        model.dataset_meta = meta


def test_the_answers_must_be_the_models(tokenizer_file, tmp_path):
    config, checkpoint = tiny_tasks.write('vqa', tokenizer_file, tmp_path)
    (tmp_path / 'answers.txt').write_text('yes\nno\n')
    message = r'answers\.txt has 2 answers, the model 6'
    with pytest.raises(ValueError, match=message):
        Inferencer(config, checkpoint, 'cpu')
    (tmp_path / 'answers.txt').unlink()
    with pytest.raises(FileNotFoundError, match=r'no file .*answers\.txt'):
        Inferencer(config, checkpoint, 'cpu')
    with pytest.raises(ValueError, match='no answer_file in test_evaluator'):
        Inferencer(
            config,
            checkpoint,
            'cpu',
            {'test_evaluator': dict(_delete_=True, type='x')},
        )


def test_a_model_without_a_task_is_told():
    with pytest.raises(ValueError, match=r'Linear has no task.*DualEncoder'):
        build_task(torch.nn.Linear(1, 1))
    model = torch.nn.Module()
    model.head = torch.nn.Linear(1, 1)
    with pytest.raises(ValueError, match='Module with Linear has no task'):
        build_task(model)


def test_a_caption_without_words_is_told(images):
    found = Caption(images=as_inputs(images[:1]), caption='')
    assert found.summary().endswith('photo0.png: (no words)')
    assert found.to_dict()['caption'] == ''
