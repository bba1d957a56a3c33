# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import json

import numpy as np
import pytest

from beit3_mm.datasets import PairListDataset
from beit3_mm.datasets.pretraining import pair_list


@pytest.fixture
def build(tmp_path):
    """Builds a data set of a list with this content."""

    def build(content, name='pairs.tsv', **kwargs):
        (tmp_path / name).write_bytes(content)
        return PairListDataset(name, data_root=str(tmp_path), **kwargs)

    return build


def infos(dataset):
    return [dataset.get_data_info(i) for i in range(len(dataset))]


def test_lines_of_path_and_caption(build, tmp_path):
    dataset = build('a.jpg\tEin Überfall\n\nb/c.jpg\tx\ty'.encode())
    assert infos(dataset) == [
        dict(sample_idx=0, img_path=f'{tmp_path}/a.jpg', text='Ein Überfall'),
        dict(sample_idx=1, img_path=f'{tmp_path}/b/c.jpg', text='x\ty'),
    ]
    windows = build(b'a.jpg\tred\r\nb.jpg\tblue\r\n', img_root='else')
    texts = [(x['img_path'], x['text']) for x in infos(windows)]
    assert texts == [('else/a.jpg', 'red'), ('else/b.jpg', 'blue')]


def test_lines_of_json(build, tmp_path):
    lines = [
        dict(image_path='a.jpg', text_segment=[5, 6], image_id=3),
        dict(image_path='b.jpg', text='two\nlines'),
    ]
    content = ''.join(json.dumps(line) + '\n' for line in lines)
    dataset = build(content.encode(), 'pairs.jsonl')
    assert infos(dataset) == [
        dict(sample_idx=0, img_path=f'{tmp_path}/a.jpg', text_segment=[5, 6]),
        dict(sample_idx=1, img_path=f'{tmp_path}/b.jpg', text='two\nlines'),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_path(build):
    (info,) = infos(build('a.jpg\tred'.encode('utf-8-sig'), img_root=''))
    assert (info['img_path'], info['text']) == ('a.jpg', 'red')
    with pytest.raises(ValueError, match=r'pairs\.tsv is in UTF-16'):
        build('a.jpg\tred'.encode('utf-16'))


@pytest.mark.parametrize('block', [1, 7, 1000])
def test_several_files_and_blocks(tmp_path, monkeypatch, block):
    monkeypatch.setattr(pair_list, 'BLOCK', block)
    for name, first in (('one', 0), ('two', 10)):
        lines = [f'{first + i}.jpg\t{"word " * i}end' for i in range(10)]
        (tmp_path / f'{name}.tsv').write_text('\n'.join(lines))
    (tmp_path / 'three.tsv').write_text('')
    dataset = PairListDataset(
        ['one.tsv', 't*.tsv'], data_root=str(tmp_path), img_root=''
    )
    paths = [info['img_path'] for info in infos(dataset)]
    assert paths == [f'{i}.jpg' for i in range(20)]
    assert dataset.get_data_info(13)['text'] == 'word ' * 3 + 'end'
    assert dataset.left_out == [f'{tmp_path}/three.tsv: the file is empty']


@pytest.mark.parametrize(
    'line, reason',
    [
        (b'a.jpg red', "byte 6: there is no tab in b'a.jpg red'"),
        (b'a.jpg\t\xff\xfe', "byte 6: 'utf-8' codec can't decode"),
        (b'a.jpg\t  ', r'byte 6: the caption of .*a\.jpg is empty'),
    ],
)
def test_a_damaged_line_is_rejected_with_its_place(build, line, reason):
    dataset = build(b'b\tred\n' + line + b'\nc\tblue\n')
    rejected = [info.get('rejected') for info in infos(dataset)]
    assert rejected[0] is None and rejected[2] is None
    assert np.char.startswith(rejected[1], dataset.files[0].path)
    with pytest.raises(ValueError, match=reason):
        raise ValueError(rejected[1])
    assert dataset[1] is None


@pytest.mark.parametrize(
    'line',
    [
        '{"image_path": "a.jpg"',
        '[]',
        '{"image_path": "a", "text": 3}',
        '[' * 100000,
    ],
    ids=['cut', 'list', 'number', 'deep'],
)
def test_damaged_json_is_rejected(build, line):
    dataset = build(line.encode(), 'pairs.jsonl')
    assert 'pairs.jsonl, byte 0: ' in dataset.get_data_info(0)['rejected']


@pytest.mark.parametrize('index', [-1, 2])
def test_there_is_no_pair_beyond_the_list(build, index):
    with pytest.raises(IndexError, match=f'index={index} is not below 2'):
        build(b'a.jpg\tred\nb.jpg\tblue').get_data_info(index)


def test_wrong_lists_are_refused(build, tmp_path):
    with pytest.raises(ValueError, match=r'a\.csv: lists of pairs are \.tsv'):
        build(b'x', 'a.csv')
    with pytest.raises(ValueError, match=r'b\.tsv: there is no pair'):
        build(b'\n\n', 'b.tsv')
    with pytest.raises(FileNotFoundError, match=r'no list of pairs .*c\.tsv'):
        PairListDataset('c.tsv', data_root=str(tmp_path))
