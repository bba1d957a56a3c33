# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""NLVR2 labels and captions are true, worked out again from scratch.

Sentences are taken apart by regular expressions and checked on boxes alone.
"""

import json
import re
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from shapes_reading import (
    CLEAR,
    NUMBERS,
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
from captions import make_captions


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp('shapes')
    options = ['--train', '64', '--val', '40', '--formats']
    formats = ['nlvr2']
    assert generate.main(['--out', str(out), *options, *formats]) == 0
    return out


@pytest.fixture(scope='module')
def many():
    return [scenes.make_scene(0, 'train', i, SIZE) for i in range(300)]


def both(match, pair):
    return all(named(match[1], things) for things in pair)


def more_left(match, pair):
    left, right = (len(named(match[1], things)) for things in pair)
    return left > right


def at_least(match, pair):
    total = sum(len(named(match[2], things)) for things in pair)
    return total >= NUMBERS.index(match[1])


def one_each(match, pair):
    left, right = pair
    return any(
        named(match[1], a) and named(match[2], b)
        for a, b in ((left, right), (right, left))
    )


def related(match, pair):
    first, direction, second = match.groups()
    return any(
        shift(direction, a, b) > CLEAR
        for things in pair
        for a in named(first, things)
        for b in named(second, things)
        if a is not b
    )


STATEMENTS = {
    r'Both images contain an? (.+)\.': both,
    r'Exactly one of the images contains an? (.+)\.': lambda m, pair: (
        sum(bool(named(m[1], things)) for things in pair) == 1
    ),
    r'There are more (.+) in the left image than in the right image\.': (
        more_left
    ),
    r'The two images contain the same number of (.+)\.': lambda m, pair: (
        len({len(named(m[1], things)) for things in pair}) == 1
    ),
    r'There are at least (\w+) (.+) in total\.': at_least,
    r'One image shows an? (.+) and the other shows an? (.+)\.': one_each,
    r'In at least one image, an? (.+) is (?:to the )?'
    r'(left|right|above|below)(?: of)? an?(?:other)? (.+)\.': related,
}


@pytest.mark.parametrize('split', ['train', 'dev', 'test1'])
def test_nlvr2_labels_are_right_and_half_true(data, split):
    path = data / f'nlvr2/nlvr/nlvr2/data/{split}.json'
    labels = defaultdict(list)
    for line in path.open():
        example = json.loads(line)
        _, number, pair, _ = example['identifier'].split('-')
        index = int(number) * 8 + int(pair) * 2
        things = [
            things_of(scenes.make_scene(0, f'nlvr2_{split}', i, SIZE))
            for i in (index, index + 1)
        ]
        sentence = example['sentence']
        for pattern, truth in STATEMENTS.items():
            if match := re.fullmatch(pattern, sentence):
                expected = truth(match, things)
                break
        else:
            raise AssertionError(f'unknown form: {sentence!r}')
        assert example['label'] == str(bool(expected)), sentence
        labels[number, sentence].append(example['label'])
    assert labels
    for values in labels.values():
        assert sorted(values) == ['False', 'False', 'True', 'True']


def groups_in(text):
    """Find 'two red circles', 'a square', ... as (number, noun)."""
    pattern = r'\b(an?|[a-z]+) ((?:red|green|blue|yellow)? ?'
    pattern += r'(?:circle|square|triangle|object)s?)\b'
    for number, noun in re.findall(pattern, text.lower()):
        yield (1 if number in ('a', 'an') else NUMBERS.index(number)), noun


def test_captions_are_true(many):
    for i, scene in enumerate(many):
        rng = np.random.default_rng(i)
        texts = make_captions(scene.objects, scene.texture, SIZE, rng)
        things = things_of(scene)
        assert len(texts) == 5
        by_class, on_ground, by_shape, relation, fact = texts
        for text in (by_class, on_ground, by_shape):
            found = list(groups_in(text))
            assert sum(number for number, _ in found) == len(things)
            for number, noun in found:
                assert len(named(noun, things)) == number, text
        for text in (on_ground, by_shape):
            assert text.endswith(f'{scene.texture} background.')
        check_relation(relation, things)
        number = NUMBERS.index(fact.lower().split()[0].replace('an', 'one'))
        assert number == len(things)
        if match := re.search(r', the (\w+) is an? (.+)\.', fact):
            assert most(match[1], things)['name'] == match[2]


def check_relation(text, things):
    pattern = r'an? (.+?) (?:to the )?(left|right|above|below)(?: of)? an? '
    match = re.fullmatch(pattern + r'(.+)\.', text.lower())
    if match:
        a, b = only(match[1], things), only(match[3], things)
        assert shift(match[2], a, b) > CLEAR
        return
    noun, place = re.fullmatch(
        r'an? (\w+ \w+) (?:at the|in the) (.+)\.', text.lower()
    ).groups()
    words = {'top': 'above', 'bottom': 'below', 'middle': None}
    middle = {'at': (SIZE / 2, SIZE / 2)}
    directions = [words.get(word, word) for word in place.split()]
    assert any(
        all(d is None or shift(d, thing, middle) > 0 for d in directions)
        for thing in named(noun, things)
    )
