# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import json
from collections import Counter

import pytest
from dataset_reading import infos
from mmengine.registry import DATASETS

from beit3_mm.datasets import NLVR2Dataset


def line(identifier, label='True', **fields):
    return dict(identifier=identifier, sentence='two cats', label=label) | (
        fields
    )


@pytest.fixture
def build(tmp_path, write_json):
    (tmp_path / 'images/train/32').mkdir(parents=True)

    def build(lines, folder='images/train', **kwargs):
        return NLVR2Dataset(
            data_root=str(tmp_path),
            ann_file=write_json('lines', lines),
            data_prefix=dict(img_path=folder),
            **kwargs,
        )

    return build


def test_training_images_lie_in_folders(build, tmp_path):
    (sample,) = infos(build([line('train-10171-0-2', directory=32)]))
    folder = f'{tmp_path}/images/train/32'
    assert sample == dict(
        img_paths=[
            f'{folder}/train-10171-0-img0.png',
            f'{folder}/train-10171-0-img1.png',
        ],
        text='two cats',
        identifier='train-10171-0-2',
        gt_label=1,
    )


def test_other_images_do_not(build, tmp_path):
    (tmp_path / 'dev').mkdir()
    lines = [line('dev-1-3-0', 'False'), line('dev-1-3-1')]
    samples = infos(build(lines, 'dev', test_mode=True))
    assert [sample['gt_label'] for sample in samples] == [0, 1]
    for sample in samples:
        assert sample['img_paths'] == [
            f'{tmp_path}/dev/dev-1-3-img{i}.png' for i in (0, 1)
        ]


@pytest.mark.parametrize(
    'split, folder',
    [('train', 'images/train'), ('dev', 'dev'), ('test1', 'test1')],
)
def test_generated_scenes(shapes, split, folder):
    root = shapes / 'nlvr2'
    dataset = DATASETS.build(
        dict(
            type='beit3_mm.NLVR2Dataset',
            data_root=str(root),
            ann_file=f'nlvr/nlvr2/data/{split}.json',
            data_prefix=dict(img_path=folder),
        )
    )
    text = (root / f'nlvr/nlvr2/data/{split}.json').read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    samples = infos(dataset)
    assert [x['text'] for x in samples] == [x['sentence'] for x in lines]
    counts = Counter(x['gt_label'] for x in samples)
    assert counts[0] == sum(x['label'] == 'False' for x in lines) > 0
    assert dataset.metainfo['classes'] == ('False', 'True')
    files = {str(path) for path in root.rglob('*.png')}
    assert {path for x in samples for path in x['img_paths']} <= files


def test_only_evaluation_goes_without_labels(build):
    hidden = line('test2-0-0-0', directory=32)
    del hidden['label']
    (sample,) = infos(build([hidden], test_mode=True))
    assert 'gt_label' not in sample
    with pytest.raises(ValueError, match=r"line 1: there is no 'label'"):
        build([hidden])


def test_lines_that_cannot_be_used_are_named(build):
    good = line('train-0-0-0', directory=32)
    with pytest.raises(ValueError, match=r'line 3: identifier .* at .* 1 al'):
        build([good, line('train-0-0-1', directory=32), good])
    with pytest.raises(ValueError, match=r"lines, line 2: label 'true' must"):
        build([good, line('train-0-0-1', 'true')])
    with pytest.raises(ValueError, match=r"identifier 'dev' is not like 'dev"):
        build([line('dev')])
    with pytest.raises(ValueError, match=r"line 1: there is no 'sentence'"):
        build([dict(identifier='dev-0-0-0')])
    with pytest.raises(ValueError, match=r'must be int or str, not 1\.5'):
        build([line('train-0-0-0', directory=1.5)])


def test_a_missing_folder_is_named(build):
    with pytest.raises(FileNotFoundError, match=r'images/train/33, which is'):
        build([line('train-0-0-0', directory=33)])
