# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Random scenes of coloured shapes with exact ground truth.

A scene depends on (seed, split, index) alone, never on how many others are
made or by how many processes.
"""

from __future__ import annotations

import colorsys
import zlib
from dataclasses import dataclass

import numpy as np
from backgrounds import draw_background
from polygons import has_hole

SHAPES = ('circle', 'square', 'triangle')
COLOURS = ('red', 'green', 'blue', 'yellow')
CLASSES = tuple(f'{colour} {shape}' for shape in SHAPES for colour in COLOURS)

MIN_IMAGE_SIZE = 128
MAX_OBJECTS = 8
MIN_OBJECT_SIZE = 8  # longer side of the box of the whole object, in pixels
MAX_OBJECT_SIZE = 64
MAX_OVERLAP = 0.6  # of the smaller one's area, of any two objects
MIN_VISIBLE = 0.4  # of an object's own area
MIN_VISIBLE_AREA = 24  # pixels: what an 8 px triangle has

# Hue ranges in degrees; saturation and value are drawn for each object.
_HUES = {
    'red': (-10, 8),
    'green': (95, 145),
    'blue': (208, 242),
    'yellow': (48, 62),
}
_CORNERS = {'square': 4, 'triangle': 3}
_TRIES = 40  # placements of one object before its scene is started again


@dataclass(frozen=True)
class SceneObject:
    """One object as it is seen: what it is and where it shows.

    Attributes:
        box: (x, y, width, height) of the visible part, in pixels.
        area: Visible pixels.
        full_area: Pixels it would have if nothing covered it.
        full_size: Longer side of its box if nothing covered it.
    """

    shape: str
    colour: str
    box: tuple[int, int, int, int]
    area: int
    full_area: int
    full_size: int

    @property
    def name(self) -> str:
        return f'{self.colour} {self.shape}'

    @property
    def class_id(self) -> int:
        """Index into `CLASSES`."""
        return CLASSES.index(self.name)

    @property
    def centre(self) -> tuple[float, float]:
        """Middle (x, y) of the visible box, in pixels."""
        x, y, width, height = self.box
        return x + width / 2, y + height / 2


@dataclass(frozen=True)
class Scene:
    """An image with its objects, from the farthest to the nearest.

    Attributes:
        image: (S, S, 3) uint8, RGB.
        masks: (N, S, S) bool, the visible pixels of each object, disjoint.
        texture: Kind of the background, a key of `backgrounds.TEXTURES`.
    """

    image: np.ndarray
    masks: np.ndarray
    objects: tuple[SceneObject, ...]
    texture: str


@dataclass(frozen=True)
class _Placement:
    """One drawn shape: its class and its signed distance in pixels."""

    shape: str
    colour: str
    distance: np.ndarray  # (S, S), negative inside
    mask: np.ndarray  # (S, S) bool, as if nothing covered it


def scene_rng(seed: int, split: str, index: int) -> np.random.Generator:
    """Return the random generator that belongs to one scene of a split."""
    return np.random.default_rng([seed, zlib.crc32(split.encode()), index])


def mask_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return the (x, y, width, height) box of a mask that is not empty."""
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = int(xs[0]), int(ys[0])
    return x, y, int(xs[-1]) + 1 - x, int(ys[-1]) + 1 - y


def signed_distance(
    shape: str, size: int, centre: np.ndarray, extent: float, angle: float
) -> np.ndarray:
    """Compute each pixel centre's distance to a shape's border.

    Args:
        shape: One of `SHAPES`.
        size: Side of the image in pixels.
        centre: (x, y) of the middle of the shape's box.
        extent: Longer side of the shape's box in pixels.
        angle: Rotation in radians.

    Returns:
        (size, size) float32, negative inside. For the polygons it is the
        distance to the farthest edge line, which is exact near the border.
    """
    grid = np.arange(size, dtype=np.float32) + np.float32(0.5)
    x, y = grid - np.float32(centre[0]), grid - np.float32(centre[1])
    if shape == 'circle':
        return np.sqrt(x**2 + y[:, None] ** 2) - np.float32(extent / 2)
    corners = _CORNERS[shape]
    turns = angle + 2 * np.pi / corners * np.arange(corners)
    points = np.stack([np.cos(turns), np.sin(turns)])  # on the unit circle
    low, high = points.min(1), points.max(1)
    radius = extent / (high - low).max()
    # The box's middle, not the circumscribed circle's, lies at `centre`.
    offset = radius * (low + high) / 2
    normals = turns + np.pi / corners
    apothem = radius * np.cos(np.pi / corners)
    # Each edge's line is a sum of a term in x and one in y.
    along_x = np.cos(normals)[:, None] * (x + offset[0])
    along_y = np.sin(normals)[:, None] * (y + offset[1]) - apothem
    edges = along_y.astype(np.float32)[:, :, None]
    edges = edges + along_x.astype(np.float32)[:, None, :]
    return edges.max(0)  # (corners, S, S) -> (S, S)


def _object_colour(rng: np.random.Generator, colour: str) -> np.ndarray:
    hue = rng.uniform(*_HUES[colour]) / 360 % 1
    rgb = colorsys.hsv_to_rgb(hue, rng.uniform(0.72, 1), rng.uniform(0.7, 1))
    return np.array(rgb, np.float32)


def _draw_placement(
    rng: np.random.Generator, size: int, class_id: int | None
) -> _Placement:
    if class_id is None:
        class_id = int(rng.integers(len(CLASSES)))
    colour, shape = CLASSES[class_id].split()
    extent = rng.uniform(MIN_OBJECT_SIZE, MAX_OBJECT_SIZE)
    centre = rng.uniform(extent / 2 + 1, size - extent / 2 - 1, 2)
    angle = rng.uniform(0, 2 * np.pi)
    distance = signed_distance(shape, size, centre, extent, angle)
    return _Placement(shape, colour, distance, distance < 0)


def _fits(
    mask: np.ndarray, full: list[np.ndarray], visible: list[np.ndarray]
) -> bool:
    """Tell whether an object may be put in front of those already there."""
    area = np.count_nonzero(mask)
    if area < MIN_VISIBLE_AREA:
        return False
    if not MIN_OBJECT_SIZE <= max(mask_box(mask)[2:]) <= MAX_OBJECT_SIZE:
        return False  # rounding to whole pixels took or gave one
    for other, shown in zip(full, visible):
        overlap = np.count_nonzero(mask & other)
        if overlap == 0:
            continue
        other_area = np.count_nonzero(other)
        if overlap > MAX_OVERLAP * min(area, other_area):
            return False
        left = shown & ~mask
        area_left = np.count_nonzero(left)
        if area_left < max(MIN_VISIBLE * other_area, MIN_VISIBLE_AREA):
            return False
        if has_hole(left):  # COCO's polygons cannot express holes
            return False
    return True


def _place(
    rng: np.random.Generator, size: int, number: int, class_id: int | None
) -> tuple[list[_Placement], list[np.ndarray]]:
    """Place `number` objects, back to front, within the scene's limits."""
    while True:
        placements: list[_Placement] = []
        full: list[np.ndarray] = []
        visible: list[np.ndarray] = []
        for _ in range(_TRIES * number):
            placement = _draw_placement(rng, size, class_id)
            mask = placement.mask
            if not _fits(mask, full, visible):
                continue
            visible = [shown & ~mask for shown in visible] + [mask]
            full.append(mask)
            placements.append(placement)
            if len(placements) == number:
                return placements, visible


def _paint(
    rng: np.random.Generator, image: np.ndarray, placement: _Placement
) -> None:
    """Blend one object into the image, anti-aliased, with a darker rim."""
    x, y, width, height = mask_box(placement.distance < 0.5)
    window = np.s_[y : y + height, x : x + width]
    distance = placement.distance[window][..., None]
    fill = _object_colour(rng, placement.colour)
    rim = np.float32(0.6) * fill  # keeps equal neighbours apart
    inner = np.clip(-distance - 0.5, 0, 1)
    outer = np.clip(0.5 - distance, 0, 1)
    colour = rim + (fill - rim) * inner
    image[window] += (colour - image[window]) * outer


def _describe(placement: _Placement, visible: np.ndarray) -> SceneObject:
    x, y, width, height = mask_box(visible)
    full = placement.mask
    return SceneObject(
        shape=placement.shape,
        colour=placement.colour,
        box=(x, y, width, height),
        area=int(visible.sum()),
        full_area=int(full.sum()),
        full_size=max(mask_box(full)[2:]),
    )


def make_scene(
    seed: int, split: str, index: int, size: int, class_id: int | None = None
) -> Scene:
    """Make one scene.

    Args:
        seed: Seed of the whole data set.
        split: Name of the split.
        index: Number of the scene in its split.
        size: Side of the square image, at least `MIN_IMAGE_SIZE` pixels.
        class_id: If given, the scene holds one object, of this class;
            otherwise 1 to `MAX_OBJECTS` objects of any class.
    """
    rng = scene_rng(seed, split, index)
    image, texture = draw_background(rng, size)
    number = 1 if class_id is not None else int(rng.integers(MAX_OBJECTS)) + 1
    placements, visible = _place(rng, size, number, class_id)
    for placement in placements:
        _paint(rng, image, placement)
    noise = rng.standard_normal(image.shape, np.float32)  # as a camera's
    image = image + np.float32(0.015) * noise
    return Scene(
        image=(np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8),
        masks=np.stack(visible),
        objects=tuple(map(_describe, placements, visible)),
        texture=texture,
    )
