# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What a model would score without looking: chance, habit, text alone.

Each baseline learns from the training files and is scored on the held-out
ones by the task's own metric, in per cent.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from statistics import mean

from scenes import CLASSES
from tasks import VQA_FILES

from beit3_mm.evaluation.caption_scores import cider_d
from beit3_mm.evaluation.ptb_tokenizer import ptb_words
from beit3_mm.evaluation.vqa_answers import normalize_answer, vqa_score


def _questions(data: Path, part: str) -> list[tuple[str, list[str]]]:
    """Returns the questions of a part with their ten answers."""
    path = data / VQA_FILES.format(part)
    annotations = json.loads(path.read_text())['annotations']
    name = path.name.replace('v2_', 'v2_OpenEnded_')
    path = path.with_name(name.replace('annotations', 'questions'))
    questions = json.loads(path.read_text())['questions']
    texts = {x['question_id']: x['question'] for x in questions}
    return [
        (texts[x['question_id']], [a['answer'] for a in x['answers']])
        for x in annotations
    ]


def vqa(data: Path) -> list[str]:
    """Scores the commonest answer, of all and of the same question.

    The second reads the text alone, about as well as that can be done: the
    questions come from few templates. One that training has not gets the
    commonest answer to those with the same first two words.
    """
    habits: dict[str, Counter[str]] = defaultdict(Counter)
    for text, answers in _questions(data, 'train'):
        answer = Counter(map(normalize_answer, answers)).most_common(1)[0][0]
        for key in _keys(text):
            habits[key][answer] += 1
    best = {key: x.most_common(1)[0][0] for key, x in habits.items()}
    blind, text_only = [], []
    for text, answers in _questions(data, 'val'):
        known = next(key for key in _keys(text) if key in best)
        blind.append(vqa_score(best[''], answers))
        text_only.append(vqa_score(best[known], answers))
    return [
        f'always the commonest answer {100 * mean(blind):.1f}',
        f'from the question alone {100 * mean(text_only):.1f}',
    ]


def _keys(question: str) -> tuple[str, str, str]:
    """Returns a question from precise to vague."""
    return question, ' '.join(question.split()[:2]), ''


def nlvr2(data: Path) -> list[str]:
    """Scores the commoner of true and false."""
    lines = (data / 'nlvr2/nlvr/nlvr2/data/test1.json').read_text()
    labels = [json.loads(x)['label'] for x in lines.splitlines()]
    share = Counter(labels).most_common(1)[0][1] / len(labels)
    return [
        f'always the same {100 * share:.1f}, as from the statement alone: '
        'each is true of half of its pairs'
    ]


def _scenes(data: Path, *splits: str) -> list[list[str]]:
    """Returns the captions of each scene."""
    content = json.loads((data / 'coco/dataset_coco.json').read_text())
    return [
        [sentence['raw'] for sentence in image['sentences']]
        for image in content['images']
        if image['split'] in splits
    ]


def caption(data: Path) -> list[str]:
    """Scores the commonest caption of the training, said of every scene."""
    told = Counter(x for s in _scenes(data, 'train', 'restval') for x in s)
    best = ptb_words(told.most_common(1)[0][0])
    held_out = _scenes(data, 'val', 'test')
    truths = [[ptb_words(x) for x in scene] for scene in held_out]
    score = 100 * cider_d([best] * len(truths), truths)
    return [f'always the commonest caption {score:.1f}']


def retrieval(data: Path) -> list[str]:
    """Tells the chance of a first hit."""
    held_out = _scenes(data, 'val', 'test')
    to_text = mean(map(len, held_out)) / sum(map(len, held_out))
    return [
        f'by chance {100 * to_text:.1f} and {100 / len(held_out):.1f}',
    ]


def classification(data: Path) -> list[str]:
    """Tells the share of one class; all are equally frequent."""
    return [f'by chance {100 / len(CLASSES):.1f}']


BASELINES = {
    'retrieval': retrieval,
    'vqa': vqa,
    'nlvr2': nlvr2,
    'caption': caption,
    'classification': classification,
}
