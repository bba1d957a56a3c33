# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Answers of VQA: how they are normalised, scored and listed.

The rules are those of the official evaluation (GT-Vision-Lab/VQA,
vqaEval.py), flaws included, as scores have to be the official ones.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from beit3_mm.text_lines import read_lines

MIN_COUNT = 9  # of a listed answer: unilm/beit3, datasets.py
ENOUGH = 3  # people who gave an answer, for the full score

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_THOUSANDS = re.compile(r'\d,\d')
# A look-ahead that was to keep the point behind a digit does not: '3.' is 3.
_PERIOD = re.compile(r'\.(?!\d)')
_ARTICLES = {'a', 'an', 'the'}
_DIGITS = 'zero one two three four five six seven eight nine ten'
_NUMBERS = {word: str(i) for i, word in enumerate(_DIGITS.split())}
_NUMBERS['none'] = '0'
# Words that get an apostrophe back. In the official table I'm and the like
# are in capitals, which no word in small letters can match, and some words
# are missing.
_CONTRACTED = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't
hadn't've hasn't haven't he'd he'd've he's how'd how'll how's isn't it'd
it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't
not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't
shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've
someone'll someone's something'd something'd've something'll that's there'd
there'd've there're there's they'd they'd've they'll they're they've 'twas
wasn't we'd've we've weren't what'll what're what's what've when's where'd
where's where've who'd who'd've who'll who's who've why'll why're why's won't
would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll
you're you've
"""
_CONTRACTIONS = {
    word[:i] + word[i + 1 :]: word
    for word in _CONTRACTED.split()
    for i, letter in enumerate(word)
    if letter == "'"
}
_CONTRACTIONS["somebody'd"] = 'somebodyd'  # a slip of the official table


def normalize_answer(answer: str) -> str:
    """Brings an answer into the form in which answers are compared.

    Small letters; no punctuation, no articles; numbers up to ten as digits;
    contractions with their apostrophes.

    Example:
        >>> normalize_answer('The two T-shirts.')
        '2 t shirts'
    """
    words = strip_punctuation(_one_line(answer)).lower().split()
    words = (_NUMBERS.get(word, word) for word in words)
    return ' '.join(
        _CONTRACTIONS.get(word, word)
        for word in words
        if word not in _ARTICLES
    )


def strip_punctuation(answer: str) -> str:
    """Removes the marks that stand beside a space, and all of them where
    there is a number such as 1,000; elsewhere they become spaces.
    """
    number = _THOUSANDS.search(answer)
    table = {}
    for mark in _MARKS:
        at_edge = f'{mark} ' in answer or f' {mark}' in answer
        table[ord(mark)] = '' if number or at_edge else ' '
    return _PERIOD.sub('', answer.translate(table))


def _one_line(answer: str) -> str:
    return answer.replace('\n', ' ').replace('\t', ' ').strip()


def vqa_score(answer: str, given: Sequence[str]) -> float:
    """Returns the official score of an answer, in [0, 1].

    It is min(1, people who gave it / 3), averaged over leaving out each one
    of them: with ten people 0, 0.3, 0.6, 0.9 and 1 for 0, 1, 2, 3 and more.

    Args:
        answer: The answer to be judged; it is normalised.
        given: What the people answered. As in the official evaluation, it is
            compared as it is, but for the punctuation where they disagree:
            the published files hold normalised answers.

    Raises:
        ValueError: If there are so few that no answer could score 1.
    """
    require_enough(given, 'a question')
    if len(set(given)) > 1:
        given = [strip_punctuation(text) for text in given]
    return count_score(given.count(normalize_answer(answer)), len(given))


def require_enough(given: Sequence[str], where: str) -> None:
    """Raises a ValueError if an answer cannot be scored by so few others.

    Args:
        given: What people answered.
        where: The place of their answers.
    """
    if len(given) <= ENOUGH:
        raise ValueError(
            f'{where}: the VQA score needs {ENOUGH + 1} or more answers of '
            f'people, ten in the official files, not {list(given)}: repeat '
            'an answer that is known to be true'
        )


def count_score(count: int, people: int = 10) -> float:
    """Returns the score of an answer that `count` of the people gave."""
    left_in = count * min(1, (count - 1) / ENOUGH)
    left_out = (people - count) * min(1, count / ENOUGH)
    return (left_in + left_out) / people


def count_answers(annotations: Iterable[dict[str, Any]]) -> Counter[str]:
    """Counts the answers that most people gave to each question, normalised.

    Args:
        annotations: Those of official files. The order decides about the
            numbers of the answers.
    """
    return Counter(
        normalize_answer(annotation['multiple_choice_answer'])
        for annotation in annotations
    )


def list_answers(
    counts: Counter[str], min_count: int = MIN_COUNT
) -> list[str]:
    """Returns the answers that are frequent enough, in the order in which
    they came: the released models' order, where train stands before val.
    """
    return [answer for answer, count in counts.items() if count >= min_count]


def read_answers(answer_file: str | Path) -> list[str]:
    """Reads a list of answers; a label is the number of a line.

    Args:
        answer_file: One answer a line, as
            `tools/dataset_converters/vqa_answers.py` writes it; the empty
            answer, which 'a' and 'the' become, is an empty line. Or the
            released models' `answer2label.txt`, lines of JSON with `answer`
            and `label`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not in UTF-8, an answer is there twice, or
            labels are not 0, 1, 2...
    """
    path = Path(answer_file)
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: no such list of answers; make it by '
            'tools/dataset_converters/vqa_answers.py'
        )
    lines = read_lines(path)
    is_json = bool(lines) and lines[0].startswith('{"')
    answers = _of_json(path, lines) if is_json else lines
    twice = [answer for answer, n in Counter(answers).items() if n > 1]
    if not answers or twice:
        raise ValueError(
            f'{path} must be a list of different answers, one a line: '
            + (f'{twice[:3]} are there twice' if twice else 'it is empty')
        )
    return answers


def _of_json(path: Path, lines: list[str]) -> list[str]:
    try:
        items = [json.loads(line) for line in lines]
        by_label = {item['label']: item['answer'] for item in items}
        return [by_label[label] for label in range(len(lines))]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path}: lines of JSON must hold "answer" and "label", the '
            f'labels being 0 to {len(lines) - 1}: '
            f'{type(error).__name__}: {error}'
        ) from error
