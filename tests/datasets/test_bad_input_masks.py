# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
from PIL import Image

from beit3_mm.datasets.transforms.segmentation import LoadSemanticMask


@pytest.fixture
def sample(tmp_path):
    """Writes a mask and returns what a data set gives for it."""

    def write(mask, mode=None, reduce_zero_label=False, name='mask.png'):
        path = tmp_path / name
        Image.fromarray(np.asarray(mask, np.uint8), mode).save(path)
        return {
            'img': np.zeros((9, 9, 3), np.uint8),  # resized meanwhile
            'ori_shape': (2, 3),
            'img_path': str(tmp_path / 'image.jpg'),
            'seg_map_path': str(path),
            'reduce_zero_label': reduce_zero_label,
            'label_map': None,
            'seg_fields': [],
        }

    return write


def test_good_masks(sample):
    mask = [[0, 1, 2], [2, 255, 0]]
    results = LoadSemanticMask(num_classes=3).transform(sample(mask))
    assert results['gt_seg_map'].tolist() == mask
    reduced = sample([[0, 1, 2], [3, 3, 0]], reduce_zero_label=True)
    results = LoadSemanticMask(num_classes=3).transform(reduced)
    assert results['gt_seg_map'].tolist() == [[255, 0, 1], [2, 2, 255]]


@pytest.mark.parametrize('shape', [(4, 1), (1, 4), (1, 1)])
def test_one_pixel_wide(sample, shape):
    info = sample(np.full(shape, 2)) | dict(ori_shape=shape)
    results = LoadSemanticMask(num_classes=3).transform(info)
    assert np.array_equal(results['gt_seg_map'], np.full(shape, 2))


def test_one_bit_masks_are_two_classes(sample):
    info = sample([[0, 1, 1], [1, 0, 0]])
    bits = Image.fromarray(np.array([[0, 1, 1], [1, 0, 0]], bool))
    bits.save(info['seg_map_path'], bits=1)
    assert Image.open(info['seg_map_path']).mode == '1'
    results = LoadSemanticMask(num_classes=2).transform(info)
    assert results['gt_seg_map'].tolist() == [[0, 1, 1], [1, 0, 0]]


def test_palette_masks_are_read_by_index(sample):
    info = sample([[0, 1, 2], [2, 1, 0]])
    image = Image.open(info['seg_map_path'])
    image.putpalette([9, 9, 9] * 256)
    image.save(info['seg_map_path'])
    results = LoadSemanticMask(num_classes=3).transform(info)
    assert results['gt_seg_map'].tolist() == [[0, 1, 2], [2, 1, 0]]


@pytest.mark.parametrize(
    ('mask', 'message'),
    [
        ([[0, 1], [0, 1]], r'mask\.png is 2 x 2.*image\.jpg 2 x 3'),
        ([[0, 1, 7], [9, 1, 255]], r'mask\.png holds the classes \[7, 9\]'),
        (np.zeros((2, 3, 3)), r"mask\.png has the image mode 'RGB'"),
    ],
)
def test_unfit_masks_are_named(sample, mask, message):
    with pytest.raises(ValueError, match=message):
        LoadSemanticMask(num_classes=3).transform(sample(mask))


def test_remedies_of_unfit_masks(sample):
    load = LoadSemanticMask(num_classes=3)
    turned = sample(np.zeros((3, 2)))
    with pytest.raises(ValueError, match='2 x 3; where EXIF data turn an im'):
        load.transform(turned)
    with pytest.raises(ValueError, match=r'2 x 3$'):
        load.transform(sample(np.zeros((4, 5))))
    zero = sample([[0, 1, 2], [3, 4, 0]], reduce_zero_label=True)
    with pytest.raises(ValueError, match='reduce_zero_label=True of the data'):
        LoadSemanticMask(num_classes=3).transform(zero)


@pytest.mark.parametrize('num_classes', [0, 256])
def test_more_classes_than_8_bits_hold(num_classes):
    with pytest.raises(ValueError, match=f'{num_classes} must lie between 1'):
        LoadSemanticMask(num_classes=num_classes)


def test_16_bits_are_refused_not_cut_off(sample):
    info = sample([[0, 1, 2], [2, 1, 0]])
    deep = np.full((2, 3), 256, np.uint16)  # 0 in its lower 8 bits
    Image.fromarray(deep).save(info['seg_map_path'])
    with pytest.raises(ValueError, match=r"mask\.png has .*mode 'I;16'"):
        LoadSemanticMask(num_classes=3).transform(info)


def test_a_file_that_is_no_image_is_named(sample, tmp_path):
    info = sample([[0, 1, 2], [2, 1, 0]])
    (tmp_path / 'mask.png').write_text('<html>404</html>')
    with pytest.raises(ValueError, match=r'mask\.png is no readable mask'):
        LoadSemanticMask(num_classes=3).transform(info)


def test_a_missing_mask_is_named(sample, tmp_path):
    info = sample([[0, 1, 2], [2, 1, 0]])
    (tmp_path / 'mask.png').unlink()
    with pytest.raises(
        FileNotFoundError, match=r'mask\.png: the mask of .*image\.jpg is mis'
    ):
        LoadSemanticMask(num_classes=3).transform(info)


@pytest.mark.parametrize('part', [0, 20, 50])
def test_a_truncated_mask_is_named(sample, tmp_path, part):
    info = sample(np.random.default_rng(0).integers(0, 3, (2, 3)))
    path = tmp_path / 'mask.png'
    path.write_bytes(path.read_bytes()[:part])
    with pytest.raises(ValueError, match=r'mask\.png is no readable mask'):
        LoadSemanticMask(num_classes=3).transform(info)


def test_images_of_a_test_server_have_no_masks(sample):
    info = sample([[0, 1, 2], [2, 1, 0]])
    del info['seg_map_path']
    assert 'gt_seg_map' not in LoadSemanticMask(num_classes=3).transform(info)
