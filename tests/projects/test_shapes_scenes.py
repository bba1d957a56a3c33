# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Scenes keep their limits, and the ground truth is what is seen."""

import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

sys.path.insert(0, str(Path(__file__).parents[2] / 'projects/shapes'))
import scenes
from backgrounds import TEXTURES, draw_background
from polygons import has_hole, mask_to_polygons
from rendering import semantic_mask

SIZE = 128


@pytest.fixture(scope='module')
def many():
    return [scenes.make_scene(0, 'train', i, SIZE) for i in range(150)]


def test_there_are_twelve_classes():
    assert len(scenes.CLASSES) == 12
    assert len(set(scenes.CLASSES)) == 12


def test_number_size_and_visibility_limits(many):
    assert {len(scene.objects) for scene in many} == set(range(1, 9))
    for scene in many:
        assert scene.image.shape == (SIZE, SIZE, 3)
        assert scene.image.dtype == np.uint8
        for obj, mask in zip(scene.objects, scene.masks):
            assert 8 <= obj.full_size <= 64
            assert obj.area == mask.sum() >= 24
            assert obj.area >= 0.4 * obj.full_area
            ys, xs = np.nonzero(mask)
            x, y, width, height = obj.box
            assert (x, y) == (xs.min(), ys.min())
            assert (x + width, y + height) == (xs.max() + 1, ys.max() + 1)


def test_masks_are_disjoint_and_some_objects_are_occluded(many):
    for scene in many:
        assert scene.masks.sum(0).max() == 1
    parts = [o.area / o.full_area for s in many for o in s.objects]
    assert min(parts) < 0.6
    assert 0.2 < np.mean(np.array(parts) < 1) < 0.6


def test_overlap_limit_of_any_two_objects(monkeypatch):
    """The whole masks of a scene, not only the visible ones, keep it."""
    drawn = []
    place = scenes._place

    def spy(*args):
        placements, visible = place(*args)
        drawn.append([placement.mask for placement in placements])
        return placements, visible

    monkeypatch.setattr(scenes, '_place', spy)
    for i in range(80):
        scenes.make_scene(0, 'train', i, SIZE)
    shares = [
        (a & b).sum() / min(a.sum(), b.sum())
        for masks in drawn
        for a, b in combinations(masks, 2)
    ]
    assert max(shares) <= 0.6
    assert max(shares) > 0.4


def test_small_objects_are_not_covered_to_specks():
    """An 8 px object keeps 24 pixels, though 40% of it would be fewer."""
    small, cover = np.zeros((2, SIZE, SIZE), bool)
    small[20:26, 20:26] = True  # 36 pixels
    cover[5:35, 5:35] = True
    cover[:, 23:] = False  # leaves 18 of them: half, but too few
    large = np.kron(small[:64, :64], np.ones((2, 2))) > 0
    assert scenes._fits(np.roll(cover, -2, 1), [small], [small])
    assert not scenes._fits(cover, [small], [small])
    assert scenes._fits(np.roll(cover, (20, 20), (0, 1)), [large], [large])


def test_every_object_stands_out_in_its_colour(many):
    """Also the smallest visible part is vivid, and of its class's hue."""
    strongest = {'red': 0, 'green': 1, 'blue': 2}
    for scene in many:
        for obj, mask in zip(scene.objects, scene.masks):
            rgb = np.median(scene.image[mask], axis=0)
            if obj.colour == 'yellow':
                assert min(rgb[0], rgb[1]) > rgb[2] + 50
            else:
                main = rgb[strongest[obj.colour]]
                others = np.delete(rgb, strongest[obj.colour])
                assert main > others.max() + 25
                assert main > others.min() + 50


def test_class_colours_are_ranges(many):
    reds = [
        np.median(scene.image[mask], axis=0)
        for scene in many
        for obj, mask in zip(scene.objects, scene.masks)
        if obj.colour == 'red' and obj.area > 100
    ]
    assert (np.ptp(reds, axis=0) > 30).all()


def test_backgrounds_are_muted_textured_and_of_all_kinds():
    seen = set()
    for i in range(60):
        image, texture = draw_background(np.random.default_rng(i), SIZE)
        seen.add(texture)
        assert image.min() >= 0
        assert image.max() <= 1
        # The vivid objects' channels differ by half of the range.
        assert np.ptp(image, axis=-1).max() <= 0.13
        assert image.std(axis=(0, 1)).max() > 0.001
    assert seen == set(TEXTURES)


def test_scene_depends_on_seed_split_and_index_only():
    first = scenes.make_scene(3, 'val', 5, SIZE)
    again = scenes.make_scene(3, 'val', 5, SIZE)
    assert np.array_equal(first.image, again.image)
    assert first.objects == again.objects
    for other in ((4, 'val', 5), (3, 'train', 5), (3, 'val', 6)):
        scene = scenes.make_scene(*other, SIZE)
        assert not np.array_equal(first.image, scene.image)


def test_one_object_of_a_class():
    for class_id, name in enumerate(scenes.CLASSES):
        scene = scenes.make_scene(0, 'train', class_id, SIZE, class_id)
        assert [obj.name for obj in scene.objects] == [name]


def test_larger_images():
    scene = scenes.make_scene(0, 'train', 0, 200)
    assert scene.image.shape == (200, 200, 3)
    assert scene.masks.shape[1:] == (200, 200)


@pytest.mark.parametrize('shape', scenes.SHAPES)
@pytest.mark.parametrize('extent', [8.0, 31.5, 64.0])
def test_signed_distance_has_the_extent_asked_for(shape, extent):
    centre = np.array([70.0, 60.0])
    for angle in (0.0, 0.3, 2.0):
        inside = scenes.signed_distance(shape, SIZE, centre, extent, angle) < 0
        x, y, width, height = scenes.mask_box(inside)
        # A sharp tip can miss the pixel centres by more than a pixel.
        assert extent - 2.5 <= max(width, height) <= extent + 1
        assert abs(x + width / 2 - 70) <= 1.5
        assert abs(y + height / 2 - 60) <= 1.5
        area = {'circle': np.pi / 4, 'square': 1, 'triangle': 0.433}[shape]
        assert inside.sum() <= 1.1 * area * extent**2 * 1.08


def test_polygons_give_the_masks_again(many):
    for scene in many:
        for mask in scene.masks:
            polygons = mask_to_polygons(mask)
            rles = coco_mask.frPyObjects(polygons, SIZE, SIZE)
            again = coco_mask.decode(coco_mask.merge(rles))
            assert np.array_equal(again.astype(bool), mask)


def test_has_hole():
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    assert not has_hole(mask)
    mask[4, 4] = False
    assert has_hole(mask)


def test_semantic_mask_is_zero_on_the_background(many):
    scene = many[1]
    mask = semantic_mask(scene)
    assert ((mask == 0) == ~scene.masks.any(0)).all()
    for obj, visible in zip(scene.objects, scene.masks):
        assert set(mask[visible]) == {obj.class_id + 1}
