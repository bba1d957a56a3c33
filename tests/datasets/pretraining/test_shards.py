# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import gzip
import io
import pickle
import tarfile

import cv2
import numpy as np
import pytest

from beit3_mm.datasets import ShardDataset
from beit3_mm.datasets.pretraining.shard_index import (
    index_path,
    load_index,
    scan_shard,
)
from beit3_mm.datasets.transforms import LoadImageFromFile

LONG = 'folder/' + 'x' * 120  # needs a header of its own


class Bomb:
    def __reduce__(self):
        return exec, ("raise AssertionError('a field was unpickled')",)


def jpeg(value):
    _, data = cv2.imencode('.jpg', np.full((6, 8, 3), value, np.uint8))
    return data.tobytes()


@pytest.fixture
def write(tmp_path):
    """Writes a shard of (name, content) pairs; returns its path."""

    def write(members, name='00000.tar', format_=tarfile.GNU_FORMAT):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, 'w', format=format_) as tar:
            for member, content in members:
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return path

    return write


def pairs(first, number):
    """Members of pairs with other fields between them."""
    for i in range(first, first + number):
        yield f'{i:05d}.jpg', jpeg(10 * i)
        yield f'{i:05d}.json', b'{}'
        yield f'{i:05d}.pyd', pickle.dumps(Bomb())
        yield f'{i:05d}.txt', f' caption {i}\n'.encode()


def texts(dataset):
    return [dataset.get_data_info(i).get('text') for i in range(len(dataset))]


@pytest.mark.parametrize(
    'format_', [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT]
)
def test_samples_of_several_shards(write, tmp_path, format_):
    write(pairs(0, 3), '00000.tar', format_)
    write(pairs(3, 2), '00001.tar', format_)
    dataset = ShardDataset('*.tar', str(tmp_path), with_text=True)
    assert texts(dataset) == [f'caption {i}' for i in range(5)]
    for i in (4, 0, 3):  # in any order
        info = dataset.get_data_info(i)
        name = f'{tmp_path}/0000{i // 3}.tar/{i:05d}.jpg'
        assert info['img_path'] == name
        assert info['sample_idx'] == i
        img = LoadImageFromFile()(info)['img']
        assert abs(img.astype(int) - 10 * i).max() <= 2
        assert 'img_bytes' not in info
    assert dataset.left_out == []
    for index in (-1, 5):
        with pytest.raises(IndexError, match='not below 5'):
            dataset.get_data_info(index)


def test_images_alone(write, tmp_path):
    write([('a.JPG', jpeg(3)), ('b.cls', b'5'), ('c.webp', b'w')])
    dataset = ShardDataset('*.tar', str(tmp_path), with_text=False)
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    names = [info['img_path'].rpartition('/')[2] for info in infos]
    assert names == ['a.JPG', 'c.webp']
    assert infos[1]['img_bytes'] == b'w'
    assert all('text' not in info for info in infos)


@pytest.mark.parametrize('format_', [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names(write, tmp_path, format_):
    members = [(f'{LONG}1.jpg', b'1'), (f'{LONG}1.txt', b'one')]
    members += [(f'{LONG}2.txt', b'two'), (f'{LONG}2.jpg', b'2')]
    write(members, format_=format_)
    dataset = ShardDataset('*.tar', str(tmp_path), with_text=True)
    assert texts(dataset) == ['one', 'two']
    assert dataset.get_data_info(1)['img_bytes'] == b'2'


def test_pairs_without_a_caption_are_left_out_and_counted(write, tmp_path):
    path = write([('a.jpg', b'a'), ('b.jpg', b'b'), ('b.txt', b'b')])
    dataset = ShardDataset('*.tar', str(tmp_path), with_text=True)
    assert texts(dataset) == ['b']
    assert dataset.left_out == [f'{path}: 1 of 2 images have no caption']


def test_captions_that_cannot_be_read_are_rejected(write, tmp_path):
    path = write([('a.jpg', b'a'), ('a.txt', b'\xff'), ('b.jpg', b'b')])
    other = write([('c.jpg', b'c'), ('c.txt', b' \n')], '00001.tar')
    dataset = ShardDataset('*.tar', str(tmp_path), with_text=True)
    reasons = [dataset.get_data_info(i)['rejected'] for i in range(2)]
    assert reasons[0].startswith(f'{path}/a.jpg: its caption: ')
    assert reasons[1] == f'{other}/c.jpg: its caption is empty'


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def test_a_shard_cut_anywhere_has_the_samples_before(write, tmp_path):
    whole = write([*pairs(0, 3)])
    content, index = whole.read_bytes(), scan_shard(str(whole))
    assert index.problem == ''
    ends = index.members[:, 2] + index.members[:, 3]
    path = tmp_path / 'cut.tar'
    last = int(index.members[-1, 2]) // 512 * 512 + 512
    for size in [*range(0, last, 171), last]:
        path.write_bytes(content[:size])
        part = scan_shard(str(path))
        assert part.problem, size
        full = part.members[part.members[:, 3] >= 0]
        number = int((ends <= size).sum())
        assert np.array_equal(full, index.members[:number]), size


def test_zeros_and_archives_behind_a_shard_are_reported(write, tmp_path):
    whole = write([*pairs(0, 3)])
    content, index = whole.read_bytes(), scan_shard(str(whole))
    half = int(index.members[1, 2]) // 512 * 512 + 512  # behind two pairs
    path = tmp_path / 'odd.tar'
    path.write_bytes(content[:half].ljust(3 * len(content), b'\0'))
    part = scan_shard(str(path))
    assert np.array_equal(part.members, index.members[:2])
    assert part.problem.startswith(
        f'ends after {half} of {3 * len(content)} bytes: the rest was never'
    )
    path.write_bytes(2 * content)
    assert 'or is another archive; 3 samples' in scan_shard(str(path)).problem


def test_a_cut_shard_is_reported(write, tmp_path):
    path = write([*pairs(0, 3)])
    write([*pairs(3, 1)], '00001.tar')
    members = scan_shard(str(path)).members
    cut(path, members[2, 0] + 5)
    dataset = ShardDataset('*.tar', str(tmp_path), with_text=True)
    assert texts(dataset) == ['caption 0', 'caption 1', 'caption 3']
    assert dataset.left_out == [
        f'{path}: cut in the middle of 00002.jpg; 2 samples come before'
    ]


def test_files_that_are_no_shards_are_reported(write, tmp_path):
    good = write([*pairs(0, 1)])
    (tmp_path / '1.tar').write_bytes(gzip.compress(good.read_bytes()))
    (tmp_path / '2.tar').write_bytes(b'')
    (tmp_path / '3.tar').write_bytes(b'no tar file' * 100)
    dataset = ShardDataset('*.tar', str(tmp_path), with_text=True)
    assert texts(dataset) == ['caption 0']
    found = [line.partition('.tar: ')[2] for line in dataset.left_out]
    assert found[0].startswith('compressed, and so not readable')
    assert found[1].startswith('cut after 0 bytes')
    assert 'after 0 bytes; 0 samples come before' in found[2]
    with pytest.raises(ValueError, match=r'no sample in it; .*2\.tar: cut'):
        ShardDataset('2.tar', str(tmp_path), with_text=True)


def test_an_index_takes_the_place_of_reading(write, tmp_path, monkeypatch):
    path = str(write([*pairs(0, 3)]))
    index = scan_shard(path)
    index.save(index_path(path, None))
    folder = tmp_path / 'indices'
    saved = index_path(path, str(folder))
    saved.parent.mkdir(parents=True)
    index.save(saved)
    monkeypatch.delattr('beit3_mm.datasets.pretraining.shards.scan_shard')
    for index_dir in (None, str(folder)):
        dataset = ShardDataset(path, with_text=True, index_dir=index_dir)
        assert texts(dataset) == [f'caption {i}' for i in range(3)]


def test_an_index_of_another_shard_is_refused(write):
    path = str(write([*pairs(0, 3)]))
    saved = index_path(path, None)
    scan_shard(path).save(saved)
    write([*pairs(0, 9)])
    with pytest.raises(ValueError, match=r'is of a shard of .*: remove it'):
        ShardDataset(path, with_text=True)
    saved.write_bytes(b'PK')
    with pytest.raises(ValueError, match=r'index\.npz is damaged .* remove'):
        load_index(saved, path)


def test_missing_shards_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no shard .*\*\.tar'):
        ShardDataset('*.tar', str(tmp_path), with_text=True)
