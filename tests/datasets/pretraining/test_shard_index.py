# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import io
import os
import tarfile

import pytest

from beit3_mm.datasets import ShardDataset
from beit3_mm.datasets.pretraining.shard_index import (
    index_path,
    load_index,
    scan_shard,
)


@pytest.fixture
def write(tmp_path):
    """Writes a shard of names and contents; returns its path."""

    def write(name='0.tar', **members):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, 'w') as tar:
            for member, content in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return str(path)

    return write


def read(path, **options):
    dataset = ShardDataset(path, with_text=True, **options)
    return [dataset.get_data_info(i)['text'] for i in range(len(dataset))]


PAIR = {'a.jpg': b'12345', 'a.txt': b'a cat'}


@pytest.mark.parametrize(
    'damage',
    [lambda x: x[:-40], lambda x: x.replace(b'\0', b'\1'), lambda x: b'?'],
)
def test_a_damaged_index_is_named(write, damage):
    path = write(**PAIR)
    saved = index_path(path, None)
    scan_shard(path).save(saved)
    assert len(load_index(saved, path).members) == 1
    saved.write_bytes(damage(saved.read_bytes()))
    with pytest.raises(ValueError, match=r'index\.npz is damaged .* remove'):
        load_index(saved, path)


def test_another_shard_of_the_same_size_is_refused(write):
    path = write(**PAIR)
    saved = index_path(path, None)
    scan_shard(path).save(saved)
    size = os.path.getsize(path)
    for members in (
        {'a.jpg': b'1234', 'a.txt': b'a dog'},
        {'a.txt': b'1' * 600, 'a.jpg': b'12345'},
    ):
        write(**members)
        assert os.path.getsize(path) == size
        with pytest.raises(ValueError, match=r'0\.tar has no image of 5 byt'):
            read(path)


def test_an_index_is_found_from_any_folder(write, tmp_path, monkeypatch):
    path = write('cc/0.tar', **PAIR)
    monkeypatch.chdir(tmp_path / 'cc')
    assert index_path('0.tar', 'indices') == index_path(path, 'indices')


def test_files_without_a_stem_or_suffix_are_passed_over(write):
    path = write(
        **{
            '._a.jpg': b'?',
            'a.jpg': b'1',
            '._a.txt': b'?',
            'README': b'?',
            'a.txt': b'one',
        }
    )
    assert read(path) == ['one']
    assert scan_shard(path).problem == ''


def test_names_with_dots_inside_are_counted(write):
    path = write(**PAIR, **{'b.v2.jpg': b'1', 'b.v2.txt': b'b', 'c.d.x': b''})
    index = scan_shard(path)
    assert len(index.members) == 1
    assert index.problem == (
        '2 files are no part of a sample, for a name ends at its first dot: '
        'b.v2.jpg'
    )


def test_captions_without_an_image_are_counted(write):
    path = write(**{'b.txt': b'b', 'c.txt': b'c', 'd.json': b'{}'}, **PAIR)
    assert scan_shard(path).problem == '2 captions have no image beside them'
    dataset = ShardDataset(path, with_text=True)
    assert dataset.left_out == [f'{path}: {scan_shard(path).problem}']


@pytest.mark.parametrize('folder', ['a[1]', 'b*', 'c?d'])
def test_folders_may_be_called_as_they_like(write, tmp_path, folder):
    write(f'{folder}/0.tar', **PAIR)
    root = str(tmp_path / folder)
    for pattern in ('*.tar', '0.tar'):
        assert read(pattern, data_root=root) == ['a cat']
    assert read(f'{folder}/0.tar', data_root=str(tmp_path)) == ['a cat']
