# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Statements on two images, as often true as false.

As in NLVR2, a sentence is said of four pairs of images, and is true of two:
who reads the sentence alone cannot do better than chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from language import (
    BY_CLASS,
    BY_COLOUR,
    BY_SHAPE,
    NUMBERS,
    RELATIONS,
    Selector,
    holds,
    with_article,
)
from rendering import Record

Pair = tuple[Record, Record]  # left and right image
# None where the eye could disagree.
Truth = Callable[[Record, Record], bool | None]
Statement = tuple[str, Truth]

PAIRS_PER_SET = 4
STATEMENTS_PER_SET = 4
_TRIES = 50  # draws of one template before another one is taken


def _pick(rng: np.random.Generator, *groups: Sequence[Selector]) -> Selector:
    choices = [selector for group in groups for selector in group]
    return choices[rng.integers(len(choices))]


def _count(record: Record, selector: Selector) -> int:
    return len(selector.select(record.objects))


def _both(rng: np.random.Generator) -> Statement:
    s = _pick(rng, BY_CLASS, BY_COLOUR, BY_SHAPE)
    return (
        f'Both images contain {with_article(s.singular)}.',
        lambda left, right: min(_count(left, s), _count(right, s)) > 0,
    )


def _exactly_one(rng: np.random.Generator) -> Statement:
    s = _pick(rng, BY_CLASS, BY_COLOUR, BY_SHAPE)
    return (
        f'Exactly one of the images contains {with_article(s.singular)}.',
        lambda left, right: (_count(left, s) > 0) != (_count(right, s) > 0),
    )


def _more_left(rng: np.random.Generator) -> Statement:
    s = _pick(rng, BY_COLOUR, BY_SHAPE)
    return (
        f'There are more {s.plural} in the left image than in the right '
        'image.',
        lambda left, right: _count(left, s) > _count(right, s),
    )


def _same_number(rng: np.random.Generator) -> Statement:
    s = _pick(rng, BY_COLOUR, BY_SHAPE)
    return (
        f'The two images contain the same number of {s.plural}.',
        lambda left, right: _count(left, s) == _count(right, s),
    )


def _at_least(rng: np.random.Generator) -> Statement:
    s = _pick(rng, BY_COLOUR, BY_SHAPE)
    number = int(rng.integers(2, 6))
    return (
        f'There are at least {NUMBERS[number]} {s.plural} in total.',
        lambda left, right: _count(left, s) + _count(right, s) >= number,
    )


def _one_each(rng: np.random.Generator) -> Statement:
    a, b = _pick(rng, BY_COLOUR, BY_SHAPE), _pick(rng, BY_CLASS)

    def truth(left: Record, right: Record) -> bool:
        return any(
            _count(first, a) > 0 and _count(second, b) > 0
            for first, second in ((left, right), (right, left))
        )

    first, second = with_article(a.singular), with_article(b.singular)
    return f'One image shows {first} and the other shows {second}.', truth


def _relation(rng: np.random.Generator) -> Statement:
    groups = (BY_COLOUR, BY_SHAPE)[rng.integers(2)]
    a, b = _pick(rng, groups), _pick(rng, groups)
    direction = str(rng.choice(list(RELATIONS)))

    def truth(left: Record, right: Record) -> bool | None:
        values = [
            holds(direction, subject, other, record.size)
            for record in (left, right)
            for subject in a.select(record.objects)
            for other in b.select(record.objects)
            if subject is not other
        ]
        if True in values:
            return True
        return None if None in values else False

    first, second = with_article(a.singular), with_article(b.singular)
    if a == b:
        second = f'another {b.singular}'
    words = RELATIONS[direction]
    return f'In at least one image, {first} is {words} {second}.', truth


_TEMPLATES = (
    *(_both, _exactly_one, _more_left, _same_number),
    *(_at_least, _one_each, _relation),
)


def make_statements(
    pairs: Sequence[Pair], rng: np.random.Generator
) -> list[tuple[str, list[bool]]]:
    """Make statements that are true of exactly half of the pairs.

    Args:
        pairs: `PAIRS_PER_SET` pairs of scenes.
        rng: Source of all choices.

    Returns:
        `STATEMENTS_PER_SET` different sentences, each with its truth for
        each pair.
    """
    found: dict[str, list[bool]] = {}
    while len(found) < STATEMENTS_PER_SET:
        template = _TEMPLATES[rng.integers(len(_TEMPLATES))]
        for _ in range(_TRIES):
            sentence, truth = template(rng)
            values = [truth(left, right) for left, right in pairs]
            if None not in values and sum(values) * 2 == len(pairs):
                found[sentence] = values
                break
    return list(found.items())
