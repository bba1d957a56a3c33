# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""easy-vqa in VQAv2's formats."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

import beit3_mm  # noqa: F401  registers the data set
from beit3_mm.registry import DATASETS

sys.path.insert(0, str(Path(__file__).parents[2] / 'projects/easy_vqa'))
import convert


@pytest.fixture
def package(tmp_path):
    data = tmp_path / 'easy_vqa/data'
    for split in ('train', 'test'):
        (data / split / 'images').mkdir(parents=True)
        Image.new('RGB', (64, 64)).save(data / split / 'images/0.png')
        rows = [
            ['what is the red shape?', 'triangle', 0],
            ['is there a circle?', 'no', 0],
        ]
        (data / split / 'questions.json').write_text(json.dumps(rows))
    return data


def test_converted_files_are_read(package, tmp_path):
    out = tmp_path / 'out'
    out.mkdir()
    assert convert.convert(package, out, 'train') == 2
    (out / 'answers.txt').write_text('no\ntriangle\n')
    dataset = DATASETS.build(
        dict(
            type='beit3_mm.VQAv2Dataset',
            data_root=str(out),
            question_file='train_questions.json',
            ann_file='train_annotations.json',
            answer_file=str(out / 'answers.txt'),
            data_prefix=dict(img_path='train/'),
            image_name='{image_id}.png',
        )
    )
    assert len(dataset) == 2
    sample = dataset[0]
    assert sample['text'] == 'what is the red shape?'
    assert Path(sample['img_path']).is_file()
    assert list(sample['answer_labels']) == [1]
    assert list(sample['answer_scores']) == [1.0]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(convert, 'find_spec', lambda name: None)
    with pytest.raises(ModuleNotFoundError, match='pip install easy-vqa'):
        convert.package_data()
