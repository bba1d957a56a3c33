# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import json
import random

import pytest
from mmpretrain.evaluation.metrics.vqa import (
    _process_digit_article,
    _process_punctuation,
)

from beit3_mm.evaluation.vqa_answers import (
    count_answers,
    count_score,
    list_answers,
    normalize_answer,
    read_answers,
    strip_punctuation,
    vqa_score,
)


@pytest.mark.parametrize(
    ('answer', 'expected'),
    [
        ('Yes', 'yes'),
        ('The two T-shirts.', '2 t shirts'),
        ('a\tman,\nan apple', 'man apple'),
        ('none', '0'),
        ('ten', '10'),
        ('eleven', 'eleven'),
        ('1,000', '1000'),
        ('1,000 - red/blue', '1000 redblue'),
        ('red/blue', 'red blue'),
        ('3.5', '3.5'),
        ('3.', '3'),
        ('dont know', "don't know"),
        ("couldnt've", "couldn't've"),
        ("y'allll", "y'all'll"),
        ("somebody'd", 'somebodyd'),
        ('im', 'im'),
        ('twas', "'twas"),
        ('well', 'well'),
        ('the', ''),
        ('what?!', 'what'),
    ],
)
def test_normalised(answer, expected):
    assert normalize_answer(answer) == expected


def test_rules_are_the_official_ones():
    """Those of the copy of the official functions in mmpretrain."""
    rng = random.Random(0)
    pieces = (
        "a An the no none one ten dont it's Im ow's'at yall'd've 1,000 3.5 "
        "shed've somebody'd youd . , ; / [ ] \" { } ( ) = + \\ _ - > < @ ` ? !"
    )
    pieces = pieces.split()
    differ = 0
    for _ in range(3000):
        gaps = [rng.choice(['', ' ', ' ', '\n', '\t']) for _ in range(6)]
        answer = ''.join(gap + rng.choice(pieces) for gap in gaps)
        line = answer.replace('\n', ' ').replace('\t', ' ').strip()
        assert strip_punctuation(line) == _process_punctuation(line)
        expected = _process_digit_article(_process_punctuation(line))
        assert normalize_answer(answer) == expected
        differ += expected != line
    assert differ > 2000


def test_the_whole_table_of_contractions():
    words = (
        "aint arent cant couldve couldnt couldn'tve hed've hes howll itd maam "
        "mustve oclock 'ows'at shouldn'tve someonell something'dve therere "
        "theyd've wasnt wed've weve whatre whered whod've whyre wont yall "
        "y'all'dve you'dve youre let's she's shell well were id hell"
    )
    assert normalize_answer(words) == _process_digit_article(words)


@pytest.mark.parametrize(
    ('count', 'score'), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (10, 1)]
)
def test_scores_of_ten_people(count, score):
    assert count_score(count) == pytest.approx(score, abs=1e-12)
    given = ['red'] * count + [f'x{i}' for i in range(10 - count)]
    assert vqa_score('Red.', given) == pytest.approx(score, abs=1e-12)


def plain_score(answer, given):
    """The average over all choices of people that are left out."""
    scores = []
    for i in range(len(given)):
        others = given[:i] + given[i + 1 :]
        scores.append(min(1, sum(x == answer for x in others) / 3))
    return sum(scores) / len(scores)


@pytest.mark.parametrize('people', [4, 5, 10])
def test_the_score_leaves_each_one_out(people):
    for count in range(people + 1):
        given = ['yes'] * count + ['no'] * (people - count)
        expected = plain_score('yes', given)
        assert vqa_score('yes', given) == pytest.approx(expected)


def test_answers_of_people_keep_all_but_punctuation():
    # Published answers are normalised; the official evaluation does no more.
    assert vqa_score('t shirt', ['t-shirt'] * 9 + ['shirt']) == 1
    assert vqa_score('t shirt', ['t-shirt'] * 10) == 0
    assert vqa_score('dog', ['the dog'] * 9 + ['cat']) == 0


def test_too_few_people():
    with pytest.raises(ValueError, match=r"needs 4 or more.*\['red'\]: repea"):
        vqa_score('red', ['red'])


def annotations(*answers):
    return [
        dict(question_id=i, multiple_choice_answer=answer)
        for i, answer in enumerate(answers)
    ]


def test_the_list_keeps_the_order_in_which_answers_come():
    counts = count_answers(annotations('Net', 'a dog', 'yes', 'net', 'dog'))
    counts += count_answers(annotations('cat', 'the', 'cat', 'a'))
    assert list_answers(counts, 2) == ['net', 'dog', 'cat', '']
    assert list_answers(counts) == []
    assert list_answers(count_answers(annotations(*['x'] * 9))) == ['x']


def test_lists_are_read(tmp_path):
    path = tmp_path / 'answers.txt'
    path.write_bytes('net\r\n\r\ncafé\r\n'.encode())
    assert read_answers(path) == ['net', '', 'café']
    path.write_text('net\n\n')
    assert read_answers(str(path)) == ['net', '']
    lines = [dict(answer='no', label=1), dict(answer='yes', label=0)]
    path.write_text('\n'.join(map(json.dumps, lines)))
    assert read_answers(path) == ['yes', 'no']


@pytest.mark.parametrize(
    ('content', 'error'),
    [
        ('', r'answers\.txt must be .*: it is empty'),
        ('a\nb\na\n', r"one a line: \['a'\] are there twice"),
        ('{"answer": "a"}', r'must hold "answer" and "label".*0 to 0: KeyErr'),
        ('{"answer": "a", "label": 3}', r'0 to 0: KeyError: 0'),
        ('{"answer"', r'answers\.txt: lines of JSON must .*JSONDecodeError'),
    ],
)
def test_lists_that_do_not_do(tmp_path, content, error):
    path = tmp_path / 'answers.txt'
    path.write_text(content)
    with pytest.raises(ValueError, match=error):
        read_answers(path)


def test_a_list_that_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'a\.txt: no such list.*make'):
        read_answers(tmp_path / 'a.txt')
