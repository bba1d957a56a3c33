# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import gzip
import json
import math
from pathlib import Path

import pytest

from beit3_mm.evaluation.caption_scores import (
    bleu,
    cider_d,
    common_length,
    rouge_l,
)
from beit3_mm.evaluation.ptb_tokenizer import ptb_words

GOLDEN = Path(__file__).parents[1] / 'golden/caption_scores.json.gz'


@pytest.fixture(scope='module')
def golden():
    with gzip.open(GOLDEN, 'rt', encoding='utf-8') as file:
        return json.load(file)


@pytest.fixture(scope='module')
def corpus(golden):
    references = [[ptb_words(x) for x in r] for r in golden['references']]
    return [ptb_words(x) for x in golden['captions']], references


def test_figures_are_those_of_pycocoevalcap(golden, corpus):
    figures = dict(
        zip(('BLEU_1', 'BLEU_2', 'BLEU_3', 'BLEU_4'), bleu(*corpus))
    )
    figures |= dict(ROUGE_L=rouge_l(*corpus), CIDEr=cider_d(*corpus))
    expected = {name: golden['scores'][name] for name in figures}
    assert figures == pytest.approx(expected, rel=0, abs=1e-10)
    assert [] in corpus[0]  # an empty caption is among them
    assert min(map(len, corpus[1])) == 1


def words(*captions):
    return [caption.split() for caption in captions]


CAPTIONS = words('a red dog runs fast', 'two cats on a mat', 'one blue bird')
TRUTHS = [
    words('a red dog runs fast', 'the dog'),
    words('two cats on a mat', 'cats'),
    words('one blue bird'),
]


def test_perfect_captions():
    assert bleu(CAPTIONS[:2], TRUTHS[:2]) == pytest.approx([1] * 4)
    assert rouge_l(CAPTIONS, TRUTHS) == pytest.approx(1)
    truths = [x[:1] for x in TRUTHS]
    assert cider_d(CAPTIONS[:2], truths[:2]) == pytest.approx(10)
    # Three words have no sequence of four.
    assert cider_d(CAPTIONS, truths) == pytest.approx(10 * (2 + 0.75) / 3)


def test_captions_without_words():
    for score in (*bleu([[], []], TRUTHS[:2]), rouge_l([[], []], TRUTHS[:2])):
        assert score == pytest.approx(0, abs=1e-9)
    assert cider_d([[], []], TRUTHS[:2]) == 0


def test_cider_of_one_image_is_zero():
    assert cider_d(CAPTIONS[:1], TRUTHS[:1]) == 0


def test_bleu_prefers_the_closest_length_and_counts_no_word_twice():
    caption, truths = words('the the the')[0], words('the cat', 'the a b c e')
    # Two references are as close: the shorter one, so no penalty
    assert bleu([caption], [[*truths, ['x'] * 4]])[0] == pytest.approx(1 / 3)
    short = bleu([['the']], [[['the', 'cat', 'sat']]])[0]
    assert short == pytest.approx(math.exp(1 - 3))


def test_rouge_takes_the_best_of_the_references():
    caption, truths = words('a b c d')[0], words('a x', 'a b y z u v')
    precision, recall = 2 / 4, 1 / 2
    expected = 2.44 * precision * recall / (recall + 1.44 * precision)
    assert rouge_l([caption], [truths]) == pytest.approx(expected)


def test_cider_is_less_for_another_length():
    # 'z' stands in no reference; four pairs of words instead of two
    truths = [words('a b c'), words('d e f')]
    score = cider_d(words('a b c z z', 'd e f'), truths)
    other = cider_d(words('z z', 'd e f'), truths)
    log, unseen = math.log(2), math.log(2)
    cosines = [
        3 * log**2 / math.sqrt(3 * log**2 * (3 * log**2 + 4 * unseen**2)),
        2 / math.sqrt(2 * 4),
        1 / math.sqrt(1 * 3),
    ]
    first = 10 * sum(cosines) / 4 * math.exp(-4 / 72)
    assert 2 * (score - other) == pytest.approx(first)


@pytest.mark.parametrize(
    ('first', 'second', 'length'),
    [
        ('abcbdab', 'bdcaba', 4),
        ('', 'a', 0),
        ('aaa', 'aa', 2),
        ('ab', 'ba', 1),
    ],
)
def test_longest_common_subsequence(first, second, length):
    assert common_length(first, second) == length
    assert common_length(second, first) == length
