# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Words for objects, and what can be said of a scene without doubt.

Where the eye could disagree (nearly as large, nearly above), the functions
return None, so that no question or statement is built on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scenes import COLOURS, SHAPES, SceneObject

NUMBERS = (
    *('no', 'one', 'two', 'three', 'four'),
    *('five', 'six', 'seven', 'eight'),
)
RELATIONS = {
    'left': 'to the left of',
    'right': 'to the right of',
    'above': 'above',
    'below': 'below',
}
EXTREMES = (
    *('largest', 'smallest', 'leftmost', 'rightmost'),
    *('highest', 'lowest'),
)
_CLEAR_DISTANCE = 0.08  # of the image's side, between two centres
_CLEAR_AREA = 1.5  # ratio of two areas


@dataclass(frozen=True)
class Selector:
    """A noun for some objects: 'object', 'red object', 'red circle', ..."""

    colour: str | None = None
    shape: str | None = None

    @property
    def singular(self) -> str:
        words = [self.colour, self.shape or 'object']
        return ' '.join(word for word in words if word)

    @property
    def plural(self) -> str:
        return self.singular + 's'

    def matches(self, obj: SceneObject) -> bool:
        """Tell whether the noun names an object."""
        return self.colour in (None, obj.colour) and self.shape in (
            None,
            obj.shape,
        )

    def select(self, objects: Sequence[SceneObject]) -> list[SceneObject]:
        """Return the objects that the noun names."""
        return [obj for obj in objects if self.matches(obj)]


ANY = Selector()
BY_COLOUR = tuple(Selector(colour=colour) for colour in COLOURS)
BY_SHAPE = tuple(Selector(shape=shape) for shape in SHAPES)
BY_CLASS = tuple(
    Selector(colour, shape) for shape in SHAPES for colour in COLOURS
)


def with_article(noun: str) -> str:
    """Put 'a' or 'an' in front of a noun."""
    return f'an {noun}' if noun[0] in 'aeiou' else f'a {noun}'


def counted(number: int, selector: Selector) -> str:
    """Say how many: 'a red circle', 'two red circles'."""
    if number == 1:
        return with_article(selector.singular)
    return f'{NUMBERS[number]} {selector.plural}'


def joined(parts: Sequence[str]) -> str:
    """Join words as 'a, b and c'."""
    *first, last = parts
    return f'{", ".join(first)} and {last}' if first else last


def unique_objects(
    objects: Sequence[SceneObject],
) -> dict[str, SceneObject]:
    """Map the class name to the object, for classes with a single object."""
    groups = {s.singular: s.select(objects) for s in BY_CLASS}
    return {
        name: group[0] for name, group in groups.items() if len(group) == 1
    }


def holds(
    direction: str, subject: SceneObject, other: SceneObject, size: int
) -> bool | None:
    """Tell whether `subject` lies in a direction seen from `other`.

    Args:
        direction: A key of `RELATIONS`.
        subject: The object whose place is told.
        other: The object it is compared with.
        size: Side of the image in pixels.

    Returns:
        None if the centres are too close on that axis to say.
    """
    axis = 0 if direction in ('left', 'right') else 1
    distance = subject.centre[axis] - other.centre[axis]
    if abs(distance) < _CLEAR_DISTANCE * size:
        return None
    return (distance < 0) == (direction in ('left', 'above'))


def main_direction(
    subject: SceneObject, other: SceneObject, size: int
) -> str | None:
    """Name the direction of `subject` seen from `other`, None if diagonal."""
    dx = abs(subject.centre[0] - other.centre[0])
    dy = abs(subject.centre[1] - other.centre[1])
    if max(dx, dy) < 2 * min(dx, dy):
        return None
    directions = ('left', 'right') if dx > dy else ('above', 'below')
    for direction in directions:
        if holds(direction, subject, other, size):
            return direction
    return None


def place(obj: SceneObject, size: int) -> str:
    """Say in which part of the image an object's centre is."""
    middle, words = size / 2, []
    for value, names in zip(
        reversed(obj.centre), (('top', 'bottom'), ('left', 'right'))
    ):
        if abs(value - middle) >= _CLEAR_DISTANCE * size:
            words.append(names[int(value > middle)])
    return f'at the {" ".join(words)}' if words else 'in the middle'


def clearly_larger(obj: SceneObject, other: SceneObject) -> bool:
    """Tell whether an object is larger, both as it shows and as a whole."""
    return (
        obj.area >= _CLEAR_AREA * other.area
        and obj.full_area >= _CLEAR_AREA * other.full_area
    )


def extreme(
    objects: Sequence[SceneObject], word: str, size: int
) -> SceneObject | None:
    """Find the 'largest', 'leftmost', ... object, None if in doubt."""
    for obj in objects:
        others = [other for other in objects if other is not obj]
        if others and all(_beats(obj, o, word, size) for o in others):
            return obj
    return None


def _beats(obj: SceneObject, other: SceneObject, word: str, size: int) -> bool:
    if word == 'largest':
        return clearly_larger(obj, other)
    if word == 'smallest':
        return clearly_larger(other, obj)
    direction = {
        'leftmost': 'left',
        'rightmost': 'right',
        'highest': 'above',
        'lowest': 'below',
    }[word]
    return bool(holds(direction, obj, other, size))
