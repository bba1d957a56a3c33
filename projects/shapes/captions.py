# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Five captions of a scene, each saying something else that is true."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
from language import (
    ANY,
    BY_CLASS,
    BY_COLOUR,
    BY_SHAPE,
    EXTREMES,
    RELATIONS,
    Selector,
    counted,
    extreme,
    joined,
    main_direction,
    place,
    unique_objects,
    with_article,
)
from scenes import SceneObject

CAPTIONS_PER_SCENE = 5
_MAX_GROUPS = 6  # more would not be said in one breath


def _groups(
    objects: Sequence[SceneObject], selectors: Sequence[Selector]
) -> list[str]:
    found = [(len(s.select(objects)), s) for s in selectors]
    return [counted(number, s) for number, s in found if number]


def _by_class(objects: Sequence[SceneObject], rng: np.random.Generator) -> str:
    """List the classes, or the colours where there are too many classes."""
    groups = _groups(objects, BY_CLASS)
    if len(groups) > _MAX_GROUPS:
        groups = _groups(objects, BY_COLOUR)
    return joined(rng.permutation(groups).tolist())


def _by_shape(objects: Sequence[SceneObject], rng: np.random.Generator) -> str:
    return joined(rng.permutation(_groups(objects, BY_SHAPE)).tolist())


def _relation(
    objects: Sequence[SceneObject], size: int, rng: np.random.Generator
) -> str:
    """Relate two objects, or tell the place of one."""
    found = []
    for a, b in permutations(unique_objects(objects).values(), 2):
        direction = main_direction(a, b, size)
        if direction is not None:
            words = RELATIONS[direction]
            first, second = with_article(a.name), with_article(b.name)
            found.append(f'{first} {words} {second}')
    if found:
        return str(rng.choice(found))
    obj = objects[rng.integers(len(objects))]
    return f'{with_article(obj.name)} {place(obj, size)}'


def _extreme(
    objects: Sequence[SceneObject], size: int, rng: np.random.Generator
) -> str:
    found = [(word, extreme(objects, word, size)) for word in EXTREMES]
    facts = [
        f'the {word} is {with_article(obj.name)}'
        for word, obj in found
        if obj is not None
    ]
    number = counted(len(objects), ANY)
    if not facts:
        return f'{number} in the picture, {_by_shape(objects, rng)}'
    return f'{number} in the picture, {rng.choice(facts)}'


def make_captions(
    objects: Sequence[SceneObject],
    texture: str,
    size: int,
    rng: np.random.Generator,
) -> list[str]:
    """Describe a scene in `CAPTIONS_PER_SCENE` sentences.

    Args:
        objects: The scene's objects.
        texture: Kind of its background, a key of `backgrounds.TEXTURES`.
        size: Side of the image in pixels.
        rng: Source of all choices.
    """
    ground = f'{with_article(texture)} background'
    opening = rng.choice(['there is', 'a picture of', 'the image shows'])
    if opening == 'there is' and len(objects) > 1:
        opening = 'there are'
    captions = [
        _by_class(objects, rng),
        f'{_by_class(objects, rng)} on {ground}',
        f'{opening} {_by_shape(objects, rng)} on {ground}',
        _relation(objects, size, rng),
        _extreme(objects, size, rng),
    ]
    return [f'{text[0].upper()}{text[1:]}.' for text in captions]
