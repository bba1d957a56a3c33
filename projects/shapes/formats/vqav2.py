# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""VQAv2: open-ended questions and ten people's answers, in two files.

Some of the ten disagree, as people do, but never so many that the right
answer scores less than 1. The answers to the test questions stay unknown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from questions import QUESTION_TYPES, Question, make_questions
from rendering import Job, Record
from scenes import scene_rng

from formats.common import (
    INFO,
    LICENSE,
    Counts,
    image_id,
    of_split,
    write_json,
)
from formats.karpathy import file_name_2014, folder_2014
from formats.karpathy import jobs as images_2014

_PEOPLE = 10
_DISAGREEMENT = 0.2  # share of questions with 1 to 3 other answers


def jobs(counts: Counts) -> list[Job]:
    """List the scenes of COCO's `train2014/`, `val2014/`, `test2015/`."""
    names = (
        file_name_2014('test2015', image_id('test', i))
        for i in range(counts.val)
    )
    return images_2014(counts) + [
        Job('test', i, images=(f'coco/test2015/{name}',))
        for i, name in enumerate(names)
    ]


def write(folder: Path, records: list[Record], seed: int) -> list[str]:
    """Write the question files and, but for the test, the annotations."""
    training = of_split(records, 'train')
    parts: dict[str, list[Record]] = {'train2014': [], 'val2014': []}
    for record in training + of_split(records, 'val'):
        place = folder_2014(record.split, record.index, len(training))
        parts[place].append(record)
    parts['test2015'] = of_split(records, 'test')
    parts['test-dev2015'] = parts['test2015'][::2]
    return [
        _write_part(folder / 'coco/vqa', name, part, seed)
        for name, part in parts.items()
    ]


def _write_part(
    folder: Path, name: str, records: list[Record], seed: int
) -> str:
    questions: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for record in records:
        rng = scene_rng(seed, f'{record.split}/questions', record.index)
        number = image_id(record.split, record.index)
        asked = make_questions(record.objects, record.size, rng)
        for i, question in enumerate(asked):
            ids = {'image_id': number, 'question_id': number * 1000 + i}
            questions.append({**ids, 'question': question.text})
            annotations.append({**ids, **_annotation(question, rng)})
    header = {
        'info': INFO,
        'license': LICENSE,
        'data_type': 'mscoco',
        'data_subtype': name,
    }
    path = folder / f'v2_OpenEnded_mscoco_{name}_questions.json'
    open_ended = {'task_type': 'Open-Ended', 'questions': questions}
    write_json(path, {**header, **open_ended})
    if not name.startswith('test'):
        answers = folder / f'v2_mscoco_{name}_annotations.json'
        write_json(answers, {**header, 'annotations': annotations})
    return f'coco/vqa/{path.name}: {len(questions)} questions'


def _annotation(
    question: Question, rng: np.random.Generator
) -> dict[str, Any]:
    answers = [question.answer] * _PEOPLE
    if rng.uniform() < _DISAGREEMENT:
        choices = QUESTION_TYPES[question.question_type].answers
        others = [text for text in choices if text != question.answer]
        for i in rng.permutation(_PEOPLE)[: rng.integers(1, 4)]:
            answers[i] = str(rng.choice(others))
    return {
        'question_type': question.question_type,
        'answer_type': question.answer_type,
        'multiple_choice_answer': question.answer,
        'answers': [
            {
                'answer': text,
                'answer_confidence': (
                    'yes' if text == question.answer else 'maybe'
                ),
                'answer_id': i + 1,
            }
            for i, text in enumerate(answers)
        ],
    }
