# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pickle

import pytest

from beit3_mm.datasets import ImageFolderDataset
from beit3_mm.datasets.pretraining.packed_strings import PackedStrings


@pytest.fixture
def folder(tmp_path, write_image):
    for name in ('n2/b.JPEG', 'n2/a.png', 'n1/deep/c.jpg', 'd.webp'):
        write_image(f'images/{name}')
    (tmp_path / 'images/n1/notes.txt').write_text('no image')
    return tmp_path / 'images'


def paths(dataset):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [info['sample_idx'] for info in infos] == [*range(len(infos))]
    return [info['img_path'] for info in infos]


def test_all_images_below_a_folder_in_a_fixed_order(folder):
    names = ['d.webp', 'n1/deep/c.jpg', 'n2/a.png', 'n2/b.JPEG']
    dataset = ImageFolderDataset(str(folder))
    assert paths(dataset) == [str(folder / name) for name in names]
    few = ImageFolderDataset(str(folder), suffixes=['.png'])
    assert paths(few) == [str(folder / 'n2/a.png')]


def test_the_pipeline_gets_the_path(folder):
    load = dict(type='beit3_mm.LoadImageFromFile')
    dataset = ImageFolderDataset(str(folder), pipeline=[load])
    assert dataset[2]['img'].shape == (6, 8, 3)


def test_a_list_of_names_takes_the_place_of_the_listing(folder, tmp_path):
    names = tmp_path / 'names.txt'
    names.write_text('n2/b.JPEG\n\nd.webp\n')
    dataset = ImageFolderDataset(str(folder), list_file=str(names))
    assert paths(dataset) == [str(folder / 'n2/b.JPEG'), f'{folder}/d.webp']


def test_what_is_missing_is_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match='nothing'):
        ImageFolderDataset(f'{tmp_path}/nothing')
    with pytest.raises(FileNotFoundError, match=r'no list of images .*x\.txt'):
        ImageFolderDataset(str(folder), list_file=f'{tmp_path}/x.txt')
    with pytest.raises(ValueError, match=r'no image in it \(\.gif\)'):
        ImageFolderDataset(str(folder), suffixes=['.gif'])


def test_packed_strings():
    strings = ['a', '', 'n1/\u00e9.jpg', 'bytes\udcff']
    packed = PackedStrings.pack(iter(strings))
    assert list(packed) == strings
    assert list(pickle.loads(pickle.dumps(packed))) == strings
    for index in (-1, 4):
        with pytest.raises(IndexError, match='not below 4'):
            packed[index]
    assert len(PackedStrings.pack([])) == 0


def test_packed_strings_are_small():
    packed = PackedStrings.pack(f'n{i:08d}/x.JPEG' for i in range(1000))
    assert packed.data.nbytes + packed.ends.nbytes == 1000 * (16 + 8)
