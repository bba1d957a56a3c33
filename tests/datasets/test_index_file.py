# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Lines as unilm/beit3, datasets.py writes them."""

import math
import re
import textwrap
from pathlib import Path

import pytest
from dataset_reading import infos
from mmengine.config import Config

from beit3_mm.datasets import IndexFileDataset

VQA = dict(
    image_path='val2014/a.jpg',
    text_segment=[12, 7],
    labels=[3, 0],
    scores=[1.0, 0.3],
    qid=25,
)
NLVR2 = dict(
    image_path='dev/a-img0.png',
    image2_path='dev/a-img1.png',
    text_segment=[5],
    label=1,
    identifier='dev-0-0-0',
)
IMAGENET = dict(image_path='train/n01440764/a.JPEG', label=0)
CAPTION = dict(image_path='val2014/a.jpg', text_segment=None, image_id=391895)


def retrieval(name, image_id, *ids):
    return dict(image_path=name, text_segment=list(ids), image_id=image_id)


@pytest.fixture
def build(tmp_path, write_json):
    for folder in ('val2014', 'dev', 'train/n01440764'):
        (tmp_path / folder).mkdir(parents=True)

    def build(*lines, **kwargs):
        return IndexFileDataset(
            data_root=str(tmp_path),
            ann_file=write_json('task.val.jsonl', lines),
            **kwargs,
        )

    return build


def test_lines_of_every_task(build, tmp_path):
    samples = infos(build(VQA, NLVR2, IMAGENET, CAPTION))
    assert samples == [
        dict(
            img_path=f'{tmp_path}/val2014/a.jpg',
            text_segment=[12, 7],
            question_id=25,
            answer_labels=[3, 0],
            answer_scores=[1.0, 0.3],
        ),
        dict(
            img_paths=[f'{tmp_path}/dev/a-img{i}.png' for i in (0, 1)],
            text_segment=[5],
            gt_label=1,
            identifier='dev-0-0-0',
        ),
        dict(img_path=f'{tmp_path}/train/n01440764/a.JPEG', gt_label=0),
        dict(img_path=f'{tmp_path}/val2014/a.jpg', image_id=391895),
    ]


def test_texts_of_an_image_become_one_sample(build):
    lines = [
        retrieval('a.jpg', 0, 5, 6),
        retrieval('b.jpg', 1, 7),
        retrieval('a.jpg', 0, 8),
    ]
    assert len(build(*lines)) == 3
    samples = infos(build(*lines, group_texts=True, test_mode=True))
    assert [x['image_id'] for x in samples] == [0, 1]
    assert [x['text_segment'] for x in samples] == [[[5, 6], [8]], [[7]]]


def test_texts_may_be_strings(build):
    lines = [dict(image_path='a.jpg', text=text) for text in ('a', '', 'b')]
    assert [x['text'] for x in infos(build(*lines))] == ['a', 'b']
    (sample,) = infos(build(*lines, group_texts=True, test_mode=True))
    assert sample['text'] == ['a', '', 'b']
    ids = retrieval('a.jpg', 0, 5)
    with pytest.raises(ValueError, match=r'line 4: group_texts=True is for'):
        build(*lines, ids, group_texts=True)


def test_grouping_needs_texts_of_one_image(build):
    for line in (CAPTION, NLVR2):
        with pytest.raises(ValueError, match=r'line 1: group_texts=True is f'):
            build(line, group_texts=True)


def test_empty_texts_are_left_out_of_training_only(build):
    lines = [retrieval('a.jpg', 0), retrieval('b.jpg', 1, 5)]
    assert [x['image_id'] for x in infos(build(*lines))] == [1]
    assert len(build(*lines, test_mode=True)) == 2


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(image_path=3), "line 1: 'image_path' must be str, not 3"),
        (dict(text_segment='two'), "'text_segment' must be list"),
        (dict(text_segment=['tw']), "must hold whole numbers >= 0, not 'tw'"),
        (
            dict(text_segment=[-1]),
            'text_segment must hold whole numbers >= 0, not',
        ),
        (dict(text=5), "'text' must be str, not 5"),
        (
            dict(labels=[0.5, 1]),
            'labels must hold whole numbers >= 0, not 0.5',
        ),
        (dict(scores=[1]), '2 labels do not fit 1 scores'),
        (
            dict(labels=[True, 1]),
            'labels must hold whole numbers >= 0, not True',
        ),
        (dict(scores=['a', 1]), "numbers from 0 to 1, not 'a'"),
        (dict(scores=[math.nan, 1]), 'scores must hold numbers from 0 to 1'),
        (dict(scores=[0.3, 7]), 'numbers from 0 to 1, not 7'),
        (dict(qid=None), "'qid' must be int or str, not None"),
    ],
)
def test_lines_that_cannot_be_used_are_named(build, change, message):
    with pytest.raises(
        ValueError, match=r'task\.val\.jsonl, line 1'
    ) as failure:
        build(VQA | change)
    assert message in str(failure.value)


@pytest.mark.parametrize(
    'line, message',
    [
        (VQA, r'line 3: qid 25 stands at .*val\.jsonl, line 1 already'),
        (NLVR2, "line 3: identifier 'dev-0-0-0' stands at .*, line 1 already"),
    ],
)
def test_ids_that_stand_twice_are_named(build, line, message):
    other = {'qid': 26} if 'qid' in line else {'identifier': 'dev-0-0-1'}
    assert len(infos(build(line, line | other))) == 2
    with pytest.raises(ValueError, match=message):
        build(line, line | other, line)


def test_a_label_that_is_no_number(build):
    with pytest.raises(ValueError, match=r"'label' must be int, not 'True'"):
        build(NLVR2 | dict(label='True'))


def test_the_config_of_the_page_is_one(tmp_path):
    page = Path(__file__).parents[2] / 'docs/data/index_files.md'
    blocks = re.findall(r'(?:^    .*\n)+', page.read_text(), re.MULTILINE)
    (block,) = [block for block in blocks if '_base_' in block]
    (tmp_path / 'config.py').write_text(textwrap.dedent(block))
    config = Config.fromfile(tmp_path / 'config.py')
    train = config.train_dataloader.dataset.dataset
    test = config.test_dataloader.dataset
    for dataset in (train, test):
        assert dataset.pop('type') == 'beit3_mm.IndexFileDataset'
        with pytest.raises(FileNotFoundError, match=r'coco_retrieval\.t'):
            IndexFileDataset(**dataset)
    assert test.group_texts and test.pipeline == config.test_pipeline
