# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import cv2
import numpy as np
import pytest
from PIL import Image

from beit3_mm.apis.images import as_inputs


def pixels(source):
    (image,) = as_inputs(source)
    return image.pixels()


@pytest.fixture
def rgb():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_files_arrays_and_pil_images_are_the_same(rgb, tmp_path):
    path = tmp_path / 'x.png'
    Image.fromarray(rgb).save(path)
    expected = rgb[:, :, ::-1]
    for source in (
        *(path, str(path), [path], Image.fromarray(rgb), Image.open(path)),
        *(expected, cv2.imread(str(path))),
    ):
        assert np.array_equal(pixels(source), expected)
    assert np.array_equal(as_inputs(path)[0].to_pil(), rgb)


@pytest.mark.parametrize(
    ('mode', 'kept'), [('L', 'L'), ('RGBA', 'RGB'), ('P', 'RGB'), ('1', 'L')]
)
def test_modes_of_pil_images_are_as_in_their_files(rgb, tmp_path, mode, kept):
    image = Image.fromarray(rgb).convert(mode)
    image.save(tmp_path / 'x.png')
    expected = np.asarray(image.convert(kept).convert('RGB'))[:, :, ::-1]
    assert np.array_equal(pixels(image), expected)
    assert np.array_equal(pixels(tmp_path / 'x.png'), expected)


def test_orientation_and_16_bits(rgb, tmp_path):
    turned = Image.fromarray(rgb)
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned clockwise
    turned.save(tmp_path / 'turned.png', exif=exif)
    expected = np.rot90(rgb, -1)[:, :, ::-1]
    assert np.array_equal(pixels(tmp_path / 'turned.png'), expected)
    opened = Image.open(tmp_path / 'turned.png')
    assert np.array_equal(pixels(opened), expected)
    deep = rgb[:, :, 0].astype(np.uint16) * 256 + 200
    Image.fromarray(deep).save(tmp_path / 'deep.png')
    expected = np.repeat(rgb[:, :, :1], 3, axis=2)
    assert np.array_equal(pixels(tmp_path / 'deep.png'), expected)
    assert np.array_equal(pixels(Image.open(tmp_path / 'deep.png')), expected)


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_arrays_of_other_channels(rgb, channels):
    array = np.concatenate([rgb, rgb], axis=2)[:, :, :channels]
    expected = array[:, :, [0, 1, 2] if channels > 2 else [0, 0, 0]]
    assert np.array_equal(pixels(array), expected)
    if channels == 1:
        assert np.array_equal(pixels(array[:, :, 0]), expected)


def test_names(rgb, tmp_path):
    path = tmp_path / 'x.png'
    Image.fromarray(rgb).save(path)
    sources = [path, rgb, Image.open(path), Image.fromarray(rgb)]
    names = [image.name for image in as_inputs(sources)]
    assert names == [str(path), 'image_1', str(path), 'image_3']


@pytest.mark.parametrize(
    ('source', 'error', 'message'),
    [
        ('gone.png', FileNotFoundError, r'there is no image gone\.png'),
        ('.', ValueError, r'\. is a folder: name the images'),
        (3, TypeError, 'image 0 must be a path, .* not int'),
        (np.zeros((2, 2, 3)), ValueError, r'image_0 .* float64 \(2, 2, 3\)'),
        (np.zeros((2, 2, 2), 'u1'), ValueError, r'uint8 \(2, 2, 2\)'),
        (np.zeros((2, 0, 3), 'u1'), ValueError, r'uint8 \(2, 0, 3\)'),
        (np.zeros((1, 2, 2, 3), 'u1'), ValueError, r'\(1, 2, 2, 3\)'),
        (Image.new('F', (2, 2)), ValueError, "image_0 has the mode 'F'"),
    ],
)
def test_what_is_no_image_is_told(source, error, message):
    sources = [source] if isinstance(source, int) else source
    with pytest.raises(error, match=message):
        pixels(sources)


@pytest.mark.parametrize('read', [str, Image.open], ids=['path', 'pil'])
def test_a_broken_image_is_told(rgb, tmp_path, read):
    path = tmp_path / 'broken.png'
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), 'u1')
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r'broken\.png'):
        pixels(read(path))
