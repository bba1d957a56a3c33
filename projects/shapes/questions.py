# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Questions on a scene whose answers cannot be guessed from the words.

For each type, all questions the scene can answer are listed and grouped by
answer; an answer is drawn first, then one of its questions. So rare answers
are asked for as often as the scenes allow, and 'yes' as often as 'no'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from language import (
    ANY,
    BY_CLASS,
    BY_COLOUR,
    BY_SHAPE,
    EXTREMES,
    RELATIONS,
    clearly_larger,
    extreme,
    holds,
    main_direction,
    unique_objects,
)
from scenes import CLASSES, COLOURS, MAX_OBJECTS, SHAPES, SceneObject

QUESTIONS_PER_SCENE = 6
YES_NO = ('yes', 'no')
Candidates = list[tuple[str, str]]  # (question, answer)


@dataclass(frozen=True)
class Question:
    """A question with its answer.

    Attributes:
        question_type: Its first words, a key of `QUESTION_TYPES`.
        answer_type: 'yes/no', 'number' or 'other', as in VQAv2.
    """

    text: str
    answer: str
    question_type: str
    answer_type: str


def _how_many(objects: Sequence[SceneObject], size: int) -> Candidates:
    selectors = (ANY, *BY_COLOUR, *BY_SHAPE)
    return [
        (f'How many {s.plural} are there?', str(len(s.select(objects))))
        for s in selectors
    ]


def _what_color(objects: Sequence[SceneObject], size: int) -> Candidates:
    found = [(s.singular, s.select(objects)) for s in BY_SHAPE]
    candidates = [
        (f'What color is the {noun}?', group[0].colour)
        for noun, group in found
        if len(group) == 1
    ]
    for word in EXTREMES:
        if (obj := extreme(objects, word, size)) is not None:
            text = f'What color is the {word} object?'
            candidates.append((text, obj.colour))
    return candidates


def _what_shape(objects: Sequence[SceneObject], size: int) -> Candidates:
    found = [(s.singular, s.select(objects)) for s in BY_COLOUR]
    candidates = [
        (f'What shape is the {noun}?', group[0].shape)
        for noun, group in found
        if len(group) == 1
    ]
    for word in EXTREMES:
        if (obj := extreme(objects, word, size)) is not None:
            text = f'What shape is the {word} object?'
            candidates.append((text, obj.shape))
    return candidates


def _what_is(objects: Sequence[SceneObject], size: int) -> Candidates:
    extremes = [(word, extreme(objects, word, size)) for word in EXTREMES]
    return [
        (f'What is the {word} object?', obj.name)
        for word, obj in extremes
        if obj is not None
    ]


def _is_there(objects: Sequence[SceneObject], size: int) -> Candidates:
    present = [s for s in BY_CLASS if s.select(objects)]
    absent = [s for s in BY_CLASS if s not in present]
    # Hard ones first: colour and shape both occur, but not together.
    colours = {obj.colour for obj in objects}
    shapes = {obj.shape for obj in objects}
    hard = [s for s in absent if s.colour in colours and s.shape in shapes]
    return [
        (f'Is there a {s.singular}?', answer)
        for answer, group in (('yes', present), ('no', hard or absent))
        for s in group
    ]


def _are_there_more(objects: Sequence[SceneObject], size: int) -> Candidates:
    candidates = []
    for selectors in (BY_COLOUR, BY_SHAPE):
        for a, b in permutations(selectors, 2):
            more = len(a.select(objects)) - len(b.select(objects))
            if more != 0:  # equal numbers would make 'no' the likelier
                text = f'Are there more {a.plural} than {b.plural}?'
                candidates.append((text, 'yes' if more > 0 else 'no'))
    return candidates


def _which_is_larger(objects: Sequence[SceneObject], size: int) -> Candidates:
    candidates = []
    for a, b in permutations(unique_objects(objects).values(), 2):
        if clearly_larger(a, b):
            for first, second in ((a, b), (b, a)):
                text = f'the {first.name} or the {second.name}'
                candidates.append((f'Which is larger, {text}?', a.name))
    return candidates


def _is_the(objects: Sequence[SceneObject], size: int) -> Candidates:
    candidates = []
    for a, b in permutations(unique_objects(objects).values(), 2):
        for direction, words in RELATIONS.items():
            truth = holds(direction, a, b, size)
            if truth is not None:
                text = f'Is the {a.name} {words} the {b.name}?'
                candidates.append((text, 'yes' if truth else 'no'))
    return candidates


def _where_is(objects: Sequence[SceneObject], size: int) -> Candidates:
    candidates = []
    for a, b in permutations(unique_objects(objects).values(), 2):
        direction = main_direction(a, b, size)
        if direction is not None:
            text = f'Where is the {a.name}, seen from the {b.name}?'
            candidates.append((text, direction))
    return candidates


@dataclass(frozen=True)
class QuestionType:
    """What is asked for, which answers there are, and how to list them."""

    family: str
    answer_type: str
    answers: tuple[str, ...]
    candidates: Callable[[Sequence[SceneObject], int], Candidates]


_NUMBERS = tuple(str(number) for number in range(MAX_OBJECTS + 1))
QUESTION_TYPES = {
    'how many': QuestionType('count', 'number', _NUMBERS, _how_many),
    'what color is': QuestionType('colour', 'other', COLOURS, _what_color),
    'what shape is': QuestionType('shape', 'other', SHAPES, _what_shape),
    'what is the': QuestionType('relation', 'other', CLASSES, _what_is),
    'where is': QuestionType('relation', 'other', (*RELATIONS,), _where_is),
    'is the': QuestionType('relation', 'yes/no', YES_NO, _is_the),
    'is there a': QuestionType('existence', 'yes/no', YES_NO, _is_there),
    'are there more': QuestionType(
        'comparison', 'yes/no', YES_NO, _are_there_more
    ),
    'which is larger': QuestionType(
        'comparison', 'other', CLASSES, _which_is_larger
    ),
}


def make_questions(
    objects: Sequence[SceneObject], size: int, rng: np.random.Generator
) -> list[Question]:
    """Ask up to `QUESTIONS_PER_SCENE` questions, each of another type.

    Args:
        objects: The scene's objects.
        size: Side of the image in pixels.
        rng: Source of all choices.
    """
    questions = []
    for name in rng.permutation(list(QUESTION_TYPES)).tolist():
        kind = QUESTION_TYPES[name]
        by_answer: dict[str, list[str]] = {}
        for text, answer in kind.candidates(objects, size):
            by_answer.setdefault(answer, []).append(text)
        if by_answer:
            answer = str(rng.choice(list(by_answer)))
            text = str(rng.choice(by_answer[answer]))
            questions.append(Question(text, answer, name, kind.answer_type))
    return questions[:QUESTIONS_PER_SCENE]
