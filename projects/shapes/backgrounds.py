# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Textured backgrounds that are never mistaken for an object.

Every background colour is nearly grey (its channels differ by at most
`MAX_CHROMA`), every object colour is vivid, so texture distracts without
making the ground truth doubtful.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

MAX_CHROMA = 0.12  # largest difference of two channels, in [0, 1]


def muted_colour(rng: np.random.Generator) -> np.ndarray:
    """Draw a nearly grey RGB colour, (3,) float32 in [0, 1]."""
    grey = rng.uniform(0.12, 0.82)
    tint = rng.uniform(0, MAX_CHROMA, 3)
    return (grey + tint).astype(np.float32)


def _rotated_grid(
    rng: np.random.Generator, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw pixel coordinates turned by a random angle, two (S, S) arrays."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return x * cos + y * sin, y * cos - x * sin


def _plain(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.full((size, size), rng.uniform(), np.float32)


def _gradient(rng: np.random.Generator, size: int) -> np.ndarray:
    u, _ = _rotated_grid(rng, size)
    return (u - u.min()) / (u.max() - u.min())


def _noise(rng: np.random.Generator, size: int) -> np.ndarray:
    """Sum smooth noise over several scales, as clouds or rough stone."""
    field = np.zeros((size, size), np.float32)
    cells = int(rng.integers(2, 9))
    weight = 1.0
    while cells < size:
        grid = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
        field += weight * cv2.resize(
            grid, (size, size), interpolation=cv2.INTER_CUBIC
        )
        cells *= 2
        weight *= 0.6
    return (field - field.min()) / (field.max() - field.min())


def _stripes(rng: np.random.Generator, size: int) -> np.ndarray:
    u, _ = _rotated_grid(rng, size)
    wave = np.sin(u * (2 * np.pi / rng.uniform(8, 40)) + rng.uniform(0, 6.28))
    # A high gain turns the smooth wave into bands with sharp borders.
    return np.clip(0.5 + rng.choice([0.5, 4.0]) * wave, 0, 1)


def _checks(rng: np.random.Generator, size: int) -> np.ndarray:
    u, v = _rotated_grid(rng, size)
    scale = np.pi / rng.uniform(6, 24)
    return np.clip(0.5 + 4 * np.sin(u * scale) * np.sin(v * scale), 0, 1)


def _bricks(rng: np.random.Generator, size: int) -> np.ndarray:
    u, v = _rotated_grid(rng, size)
    height = rng.uniform(8, 20)
    row = np.floor(v / height)
    joint_v = np.abs(v / height - row - 0.5)
    column = u / (2 * height) + 0.5 * (row % 2)
    joint_u = np.abs(column - np.floor(column) - 0.5)
    return ((joint_v < 0.43) & (joint_u < 0.46)).astype(np.float32)


# The caption's word for a texture and how it is drawn as an (S, S) field.
TEXTURES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    'plain': _plain,
    'shaded': _gradient,
    'cloudy': _noise,
    'striped': _stripes,
    'checked': _checks,
    'brick': _bricks,
}


def draw_background(
    rng: np.random.Generator, size: int
) -> tuple[np.ndarray, str]:
    """Draw a textured background, (size, size, 3) RGB float32 in [0, 1].

    Returns:
        The image and the name of its texture, a key of `TEXTURES`.
    """
    name = list(TEXTURES)[rng.integers(len(TEXTURES))]
    field = TEXTURES[name](rng, size).astype(np.float32)[..., None]
    low, high = muted_colour(rng), muted_colour(rng)
    image = low + (high - low) * field
    # A faint second texture keeps even plain and shaded surfaces uneven.
    grain = _noise(rng, size)[..., None] - 0.5
    return np.clip(image + rng.uniform(0.03, 0.15) * grain, 0, 1), name
