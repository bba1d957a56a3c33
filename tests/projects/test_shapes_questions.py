# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""VQA answers are right, worked out again from scratch, and balanced.

Questions are taken apart by regular expressions and answered from the COCO
annotations of the image.
"""

import json
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from shapes_reading import (
    AXES,
    CLEAR,
    SIZE,
    most,
    named,
    only,
    shift,
    things_of,
)

sys.path.insert(0, str(Path(__file__).parents[2] / 'projects/shapes'))
import generate
import scenes
from questions import QUESTION_TYPES, make_questions


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp('shapes')
    options = ['--train', '64', '--val', '40', '--formats']
    formats = ['coco', 'vqav2']
    assert generate.main(['--out', str(out), *options, *formats]) == 0
    return out


@pytest.fixture(scope='module')
def many():
    return [scenes.make_scene(0, 'train', i, SIZE) for i in range(300)]


def instances(data):
    """Map image ids to their objects, read from the COCO files."""
    found = defaultdict(list)
    for split in ('train', 'val'):
        path = data / f'coco/annotations/instances_{split}2017.json'
        content = json.loads(path.read_text())
        names = {c['id']: c['name'] for c in content['categories']}
        for item in content['annotations']:
            x, y, width, height = item['bbox']
            thing = {
                'words': set(names[item['category_id']].split()),
                'name': names[item['category_id']],
                'at': (x + width / 2, y + height / 2),
                'area': item['area'],
            }
            found[item['image_id']].append(thing)
    return found


def the_one(noun, things):
    word = noun.removesuffix(' object')
    if word.endswith(('est', 'most')):
        return most(word, things)
    return only(noun, things)


def yes_no(truth):
    return 'yes' if truth else 'no'


def where(match, things):
    a, b = (only(noun, things) for noun in match.groups())
    return max(AXES, key=lambda direction: shift(direction, a, b))


def is_the(match, things):
    a, direction, b = match.groups()
    distance = shift(direction, only(a, things), only(b, things))
    assert abs(distance) > CLEAR
    return yes_no(distance > 0)


def larger(match, things):
    pair = [only(noun, things) for noun in match.groups()]
    small, large = sorted(pair, key=lambda thing: thing['area'])
    assert large['area'] >= 1.5 * small['area']
    return large['name']


def colour_of(thing):
    return next(w for w in thing['words'] if w in scenes.COLOURS)


def shape_of(thing):
    return next(w for w in thing['words'] if w in scenes.SHAPES)


QUESTIONS = {
    r'How many (.+) are there\?': lambda m, t: str(len(named(m[1], t))),
    r'What color is the (.+)\?': lambda m, t: colour_of(the_one(m[1], t)),
    r'What shape is the (.+)\?': lambda m, t: shape_of(the_one(m[1], t)),
    r'What is the (.+)\?': lambda m, t: the_one(m[1], t)['name'],
    r'Where is the (.+), seen from the (.+)\?': where,
    r'Is the (.+?) (?:to the )?(left|right|above|below)(?: of)? the (.+)\?': (
        is_the
    ),
    r'Is there a (.+)\?': lambda m, t: yes_no(named(m[1], t)),
    r'Are there more (.+) than (.+)\?': lambda m, t: yes_no(
        len(named(m[1], t)) > len(named(m[2], t))
    ),
    r'Which is larger, the (.+) or the (.+)\?': larger,
}


def work_out(question, things):
    for pattern, answer in QUESTIONS.items():
        if match := re.fullmatch(pattern, question):
            return answer(match, things)
    raise AssertionError(f'question of unknown form: {question!r}')


@pytest.mark.parametrize('part', ['train2014', 'val2014'])
def test_vqa_answers_are_right(data, part):
    folder = data / 'coco/vqa'
    asked = json.loads(
        (folder / f'v2_OpenEnded_mscoco_{part}_questions.json').read_text()
    )['questions']
    answered = json.loads(
        (folder / f'v2_mscoco_{part}_annotations.json').read_text()
    )['annotations']
    images = instances(data)
    assert len(asked) == len(answered) > 100
    for question, annotation in zip(asked, answered):
        assert question['question_id'] == annotation['question_id']
        text, kind = question['question'], annotation['question_type']
        assert text.lower().startswith(kind)
        expected = work_out(text, images[question['image_id']])
        assert annotation['multiple_choice_answer'] == expected, text


def test_all_families_are_asked_with_many_answers(many):
    families, answers = Counter(), set()
    for i, scene in enumerate(many):
        rng = np.random.default_rng(i)
        for question in make_questions(scene.objects, SIZE, rng):
            kind = QUESTION_TYPES[question.question_type]
            families[kind.family] += 1
            answers.add(question.answer)
            assert question.answer in kind.answers
            assert question.answer == work_out(question.text, things_of(scene))
    assert set(families) >= {
        *('count', 'colour', 'relation', 'existence', 'comparison')
    }
    assert min(families.values()) > 0.05 * sum(families.values())
    assert len(answers) >= 25


def test_absent_objects_are_hard_to_tell(many):
    """Seeing the colour and the shape somewhere is not enough for 'yes'."""
    for i, scene in enumerate(many):
        things = things_of(scene)
        seen = set.union(*(thing['words'] for thing in things))
        names = {thing['name'] for thing in things}
        possible = {f'{c} {s}' for c in scenes.COLOURS for s in scenes.SHAPES}
        hard = {n for n in possible - names if set(n.split()) <= seen}
        rng = np.random.default_rng(i)
        for question in make_questions(scene.objects, SIZE, rng):
            match = re.fullmatch(r'Is there a (.+)\?', question.text)
            if match and question.answer == 'no' and hard:
                assert match[1] in hard


def test_answers_are_balanced(many):
    """No answer is given away by the type of its question."""
    counts = defaultdict(Counter)
    for i, scene in enumerate(many):
        rng = np.random.default_rng(i)
        for question in make_questions(scene.objects, SIZE, rng):
            counts[question.question_type][question.answer] += 1
    for name, limit in {
        'how many': 0.35,
        'what color is': 0.35,
        'what shape is': 0.45,
        'what is the': 0.2,
        'where is': 0.35,
        'is the': 0.6,
        'is there a': 0.6,
        'are there more': 0.6,
        'which is larger': 0.2,
    }.items():
        share = max(counts[name].values()) / counts[name].total()
        assert share < limit, (name, counts[name])
