# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Pairs of images, and the official image steps as configs."""

from pathlib import Path

import mmcv
import numpy as np
import pytest
from mmcv.transforms import Compose
from mmengine.config import Config
from PIL import Image

from beit3_mm.datasets.transforms import TransformImages, TranslatePixels
from beit3_mm.registry import TRANSFORMS

ROOT = Path(__file__).parents[3]
LOAD = dict(type='beit3_mm.LoadImageFromFile')


@pytest.fixture(scope='module')
def steps():
    """The image steps of `configs/`, at 64 pixels as its header says."""
    path = ROOT / 'configs/_base_/datasets/vl_pipelines.py'
    config = Config.fromfile(path)
    return {
        name: [
            dict(step, scale=(64, 64)) if 'scale' in step else step
            for step in config[name]
        ]
        for name in (
            'vl_train_images',
            'vl_train_images_randaug',
            'vl_test_images',
        )
    }


@pytest.fixture
def paths(tmp_path):
    """Two images of 60 x 80 and 90 x 70 pixels."""
    rng = np.random.default_rng(0)
    paths = []
    for i, shape in enumerate([(6, 8, 3), (9, 7, 3)]):
        blocks = rng.integers(0, 256, shape, np.uint8)
        img = np.kron(blocks, np.ones((10, 10, 1), np.uint8))
        paths.append(str(tmp_path / f'{i}.png'))
        Image.fromarray(img).save(paths[-1])
    return paths


# Pairs


def test_each_image_is_transformed(paths, steps):
    transform = TRANSFORMS.build(
        dict(
            type='beit3_mm.TransformImages', transforms=steps['vl_test_images']
        )
    )
    results = transform(dict(img_paths=paths, identifier='a'))
    assert results['img'].shape == (2, 64, 64, 3)
    assert results['img'].dtype == np.uint8
    assert results['identifier'] == 'a'
    single = Compose(steps['vl_test_images'])
    for path, img in zip(paths, results['img']):
        assert np.array_equal(img, single(dict(img_path=path))['img'])


def test_images_draw_their_own_augmentation(paths, steps):
    np.random.seed(0)
    transform = TransformImages(steps['vl_train_images'])
    left, right = transform(dict(img_paths=[paths[0]] * 2))['img']
    assert not np.array_equal(left, right)


def test_images_of_different_sizes_are_refused(paths):
    with pytest.raises(ValueError, match=r'\(60, 80\), \(90, 70\)\] \(height'):
        TransformImages([LOAD])(dict(img_paths=paths))


def test_a_damaged_image_of_a_pair(paths):
    Path(paths[1]).write_bytes(b'')
    pair = dict(img_paths=paths)
    with pytest.raises(ValueError, match=r'1\.png \(0 bytes\)'):
        TransformImages([LOAD])(pair)
    skip = TransformImages([dict(LOAD, skip_damaged=True)])
    assert skip(pair) is None


# Translation


@pytest.mark.parametrize('direction', ['horizontal', 'vertical'])
def test_translation_is_in_pixels(direction):
    axis = dict(vertical=0, horizontal=1)[direction]
    img = np.random.default_rng(0).integers(0, 256, (9, 30, 3), np.uint8)
    move = TranslatePixels(2, direction, prob=1.0)
    moved = {}
    for seed in range(8):
        np.random.seed(seed)
        moved[move(dict(img=img))['img'].tobytes()] = 1
    fill = np.full_like(img, 128)
    expected = []
    for offset in (-2, 2):
        rolled = np.roll(img, offset, axis)
        index = [slice(None)] * 2
        index[axis] = slice(-2, None) if offset < 0 else slice(2)
        rolled[tuple(index)] = fill[tuple(index)]
        expected.append(rolled.tobytes())
    assert set(moved) == set(expected)  # both signs are drawn


def test_translation_happens_with_its_probability():
    np.random.seed(0)
    img = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    move = TranslatePixels(3, prob=0.25)
    same = [
        np.array_equal(move(dict(img=img))['img'], img) for _ in range(1000)
    ]
    assert 700 < sum(same) < 800


def test_translation_errors():
    with pytest.raises(ValueError, match="direction='up' must be"):
        TranslatePixels(3, 'up')
    with pytest.raises(ValueError, match=r'prob=1\.5 must lie'):
        TranslatePixels(3, prob=1.5)


# The official steps


def test_training_crops_and_flips(paths, steps):
    np.random.seed(0)
    pipeline = Compose(steps['vl_train_images'])
    image = mmcv.imread(paths[0])
    seen, flips = set(), 0
    for _ in range(50):
        results = pipeline(dict(img_path=paths[0]))
        assert results['img'].shape == (64, 64, 3)
        assert results['img'].dtype == np.uint8
        flips += results['flip']
        seen.add(results['img'].tobytes())
    assert len(seen) == 50
    assert 10 < flips < 40
    crop = pipeline.transforms[1]
    areas = [np.prod(crop.rand_crop_params(image)[2:]) for _ in range(200)]
    assert min(areas) < 0.6 * 60 * 80
    assert min(areas) > 0.48 * 60 * 80  # rounded to pixels


def test_test_images_are_resized_as_pillow_does(paths, steps):
    img = Compose(steps['vl_test_images'])(dict(img_path=paths[0]))['img']
    image = Image.open(paths[0]).resize((64, 64), Image.Resampling.BICUBIC)
    assert np.array_equal(img[..., ::-1], np.asarray(image))


@pytest.fixture(scope='module')
def operations(steps):
    """RandAugment's operations, each made to be applied."""
    randaug = TRANSFORMS.build(steps['vl_train_images_randaug'][-1])
    assert randaug.num_policies == 2
    operations = list(randaug)
    assert len(operations) == 10
    assert [operation.prob for operation in operations] == [0.0] + [0.5] * 9
    for operation in operations[1:]:
        operation.prob = 1.0
    return operations


@pytest.fixture
def img(paths):
    return mmcv.imread(paths[0]) // 2 + 30


def outcomes(operation, img):
    """Returns the different results of 12 draws."""
    np.random.seed(0)
    results = [operation(dict(img=img.copy()))['img'] for _ in range(12)]
    assert all(result.dtype == np.uint8 for result in results)
    assert all(result.shape == img.shape for result in results)
    return list({result.tobytes(): result for result in results}.values())


def test_randaug_has_an_identity(operations, img):
    (same,) = outcomes(operations[0], img)
    assert np.array_equal(same, img)


def test_randaug_colours_have_one_strength(operations, img):
    contrast, equalize, brightness, sharpness = (
        outcomes(operation, img) for operation in operations[1:5]
    )
    assert len(contrast) == len(equalize) == len(brightness) == 1
    assert len(sharpness) == 1
    # The official factor at M=7 is 0.7 * 1.8 + 0.1.
    expected = np.clip(img * 1.36, 0, 255)
    assert np.abs(brightness[0] - expected).max() <= 1
    sharper = mmcv.adjust_sharpness(img, 1.36)
    assert np.array_equal(sharpness[0], sharper)
    # From here on the official code does what Pillow does.
    for channel in range(3):
        flat = contrast[0][..., channel]
        assert (flat.min(), flat.max()) == (0, 255)
    assert np.array_equal(equalize[0], mmcv.imequalize(img))


def test_randaug_moves_either_way_and_fills_grey(operations):
    white = np.full((61, 61, 3), 255, np.uint8)
    names = ['ShearX', 'ShearY', 'TranslateX', 'TranslateY', 'Rotate']
    uncovered = {}
    for name, operation in zip(names, operations[5:]):
        results = outcomes(operation, white)
        assert len(results) == 2, name  # two signs
        for result in results:
            # all three channels alike, from 128 to 255
            assert np.array_equal(result[..., 0], result[..., 2]), name
            assert result.min() == 128, name
        uncovered[name] = (results[0] < 200).mean()
    for name in ('TranslateX', 'TranslateY'):
        assert uncovered[name] == pytest.approx(7 / 61)
    # A shear of 0.3 * 0.7 leaves a triangle of that slope uncovered.
    for name in ('ShearX', 'ShearY'):
        assert uncovered[name] == pytest.approx(0.21 / 2, abs=0.01)
    # A square turned by 21 degrees covers this much of itself.
    angle = np.deg2rad(21)
    kept = 2 / (1 + np.sin(angle) + np.cos(angle))
    assert uncovered['Rotate'] == pytest.approx(1 - kept, abs=0.01)


def test_randaug_runs_behind_crop_and_flip(paths, steps):
    np.random.seed(0)
    pipeline = Compose(steps['vl_train_images_randaug'])
    names = [type(step).__name__ for step in pipeline.transforms]
    assert names == [
        'LoadImageFromFile',
        'RandomResizedCrop',
        'RandomFlip',
        'RandAugment',
    ]
    for _ in range(30):
        img = pipeline(dict(img_path=paths[0]))['img']
        assert img.shape == (64, 64, 3)
        assert img.dtype == np.uint8
