# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What becomes of images that are not plain 8-bit colour files."""

import logging

import cv2
import numpy as np
import pytest
from mmengine.dataset import BaseDataset
from mmengine.logging import MMLogger
from PIL import Image

from beit3_mm.datasets import SampleError, SampleIndex, SeededDataset
from beit3_mm.datasets.transforms import LoadImageFromFile
from beit3_mm.registry import TRANSFORMS


@pytest.fixture
def rgb():
    """A blocky image of 60 x 80 pixels."""
    blocks = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    return np.kron(blocks, np.ones((10, 10, 1), np.uint8))


@pytest.fixture
def log(monkeypatch):
    """Collects what is logged."""
    records = []
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, 'handle', records.append)
    return records


def load(path, **info):
    return LoadImageFromFile()(dict(img_path=str(path), **info))


def test_config_builds():
    transform = TRANSFORMS.build(
        dict(type='beit3_mm.LoadImageFromFile', skip_damaged=True)
    )
    assert isinstance(transform, LoadImageFromFile)


@pytest.mark.parametrize('name', ['a.png', 'a.bmp', 'a.tif', 'a.webp'])
def test_colour(rgb, tmp_path, name):
    Image.fromarray(rgb).save(tmp_path / name, lossless=True)
    results = load(tmp_path / name, height=60, width=80)
    assert results['img'].dtype == np.uint8
    assert np.array_equal(results['img'], rgb[..., ::-1])  # BGR
    assert results['img_shape'] == results['ori_shape'] == (60, 80)


@pytest.mark.parametrize('name', ['a.png', 'a.jpg'])
def test_grey_becomes_three_equal_channels(rgb, tmp_path, name):
    grey = np.full((60, 80), 90, np.uint8)
    Image.fromarray(grey).save(tmp_path / name)
    img = load(tmp_path / name)['img']
    assert np.array_equal(img, np.stack([grey] * 3, -1))


def test_one_bit_and_palette(rgb, tmp_path):
    bits = Image.fromarray(rgb[..., 0]).convert('1')
    bits.save(tmp_path / 'bits.png')
    img = load(tmp_path / 'bits.png')['img']
    assert set(np.unique(img)) == {0, 255}
    palette = Image.fromarray(rgb).quantize(8)
    palette.save(tmp_path / 'palette.png')
    img = load(tmp_path / 'palette.png')['img']
    assert np.array_equal(img[..., ::-1], np.asarray(palette.convert('RGB')))


@pytest.mark.parametrize('channels', [1, 3])
def test_16_bits_are_scaled_not_clipped(rgb, tmp_path, channels):
    deep = rgb[..., :channels].astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / 'deep.png'), deep)
    img = load(tmp_path / 'deep.png')['img']
    assert img.dtype == np.uint8
    assert np.array_equal(img, np.broadcast_to(rgb[..., :channels], img.shape))


def test_alpha_is_dropped(rgb, tmp_path):
    alpha = np.zeros((60, 80, 1), np.uint8)
    rgba = Image.fromarray(np.concatenate([rgb, alpha], -1))
    rgba.save(tmp_path / 'rgba.png')
    assert np.array_equal(load(tmp_path / 'rgba.png')['img'], rgb[..., ::-1])


@pytest.mark.parametrize('shape', [(60, 1), (1, 80), (1, 1)])
def test_one_pixel_wide(rgb, tmp_path, shape):
    thin = rgb[: shape[0], : shape[1]]
    Image.fromarray(thin).save(tmp_path / 'thin.png')
    img = load(tmp_path / 'thin.png', height=shape[0], width=shape[1])['img']
    assert np.array_equal(img, thin[..., ::-1])


def test_exif_orientation_is_applied(rgb, tmp_path):
    path = tmp_path / 'turned.png'
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    Image.fromarray(rgb).save(path, exif=exif)
    img = load(path, height=80, width=60)['img']
    assert np.array_equal(img[..., ::-1], np.rot90(rgb, -1))
    with pytest.raises(ValueError, match=r'turned.png is 80 x 60.*60 x 80'):
        load(path, height=60, width=80)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'missing\.jpg'):
        load(tmp_path / 'missing.jpg')


@pytest.mark.parametrize('part', [0, 0.02, 0.5, 0.99])
@pytest.mark.parametrize('name', ['cut.jpg', 'cut.png', 'cut.webp', 'cut.bmp'])
def test_truncated_file_is_named(rgb, tmp_path, name, part):
    path = tmp_path / name
    Image.fromarray(rgb).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match=rf'{name}.*truncated'):
        load(path)


def test_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / 'page.jpg').write_text('<html>404</html>')
    with pytest.raises(ValueError, match=r'page\.jpg \(16 bytes\)'):
        load(tmp_path / 'page.jpg')


class _Images(BaseDataset):
    """Four images, the third of which is damaged."""

    def load_data_list(self):
        folder = self.data_prefix['img']
        return [dict(img_path=f'{folder}/{i}.png') for i in range(4)]


@pytest.fixture
def build_dataset(rgb, tmp_path):
    for i in range(4):
        Image.fromarray(rgb).save(tmp_path / f'{i}.png')
    (tmp_path / '2.png').write_bytes(b'')

    def build(**kwargs):
        return _Images(
            data_prefix=dict(img=str(tmp_path)),
            pipeline=[LoadImageFromFile(**kwargs)],
            max_refetch=3,
        )

    return build


def test_training_goes_on_without_a_damaged_image(build_dataset, log):
    dataset = SeededDataset(build_dataset(skip_damaged=True))
    index = SampleIndex(2, seed=0, epoch=0)
    paths = {dataset[index]['img_path'] for _ in range(5)}
    assert len(paths) == 1  # drawn with the seed of the sample
    assert not paths.pop().endswith('2.png')
    other = dataset[SampleIndex(3, seed=0, epoch=0)]
    assert other['img_path'].endswith('3.png')
    warnings = [r for r in log if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert '2.png (0 bytes)' in warnings[0].getMessage()
    assert '1 skipped so far' in warnings[0].getMessage()


def test_training_ends_if_all_images_are_damaged(build_dataset, log, tmp_path):
    for i in range(4):
        (tmp_path / f'{i}.png').unlink()
    dataset = SeededDataset(build_dataset(skip_damaged=True))
    with pytest.raises(SampleError, match=r'0\.png'):
        dataset[0]
    assert 'No such file' in log[0].getMessage()


def test_a_damaged_image_raises_by_default(build_dataset):
    dataset = build_dataset()
    with pytest.raises(ValueError, match=r'2\.png \(0 bytes\)'):
        dataset[2]
