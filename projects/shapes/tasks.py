# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The tasks that `demo.py` can show, and what each one needs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

DATA = Path('work_dirs/shapes/data')
TOKENIZER = 'work_dirs/shapes/shapes.spm'
ANSWERS = 'work_dirs/shapes/answers.txt'
VQA_FILES = 'coco/vqa/v2_mscoco_{}2014_annotations.json'
NUM_PICTURES = 6  # of tasks with texts


@dataclass(frozen=True)
class Command:
    """A script that writes a file, run where the file is missing."""

    title: str
    arguments: tuple[str, ...]
    file: str


TRAIN_TOKENIZER = Command(
    'tokenizer',
    (
        'tools/dataset_converters/train_tokenizer.py',
        f'{DATA}/text/train.txt',
        f'--out={TOKENIZER}',
        # the most that so few different words allow is 133
        '--vocab-size=128',
    ),
    TOKENIZER,
)
LIST_ANSWERS = Command(
    'answers',
    (
        'tools/dataset_converters/vqa_answers.py',
        str(DATA / VQA_FILES.format('train')),
        f'--out={ANSWERS}',
    ),
    ANSWERS,
)


@dataclass(frozen=True)
class Task:
    """One task: what it runs and how its result is called.

    Attributes:
        config: Below `projects/shapes/configs`.
        metrics: Words for the metrics, by their keys.
        digits: Of the metrics behind the point; most are per cent.
        commands: To be run before.
        start: Task whose checkpoint this one starts from.
        dense: Whether tools/test.py draws it and has views to merge.
    """

    config: str
    metrics: dict[str, str]
    commands: tuple[Command, ...] = ()
    start: str | None = None
    dense: bool = False
    digits: int = 1


_TEXT = (TRAIN_TOKENIZER,)
_ANSWERS = (TRAIN_TOKENIZER, LIST_ANSWERS)
TASKS = {
    'det': Task(
        'det/beit3_cascade_shapes.py',
        {'coco/bbox_mAP': 'box AP', 'coco/segm_mAP': 'mask AP'},
        dense=True,
        digits=3,
    ),
    'seg': Task(
        'seg/beit3_mask2former_shapes.py', {'mIoU': 'mIoU'}, dense=True
    ),
    'retrieval': Task(
        'retrieval/beit3_dual_shapes.py',
        {
            'retrieval/image_to_text_R@1': 'R@1 image to text',
            'retrieval/text_to_image_R@1': 'R@1 text to image',
        },
        _TEXT,
    ),
    'vqa': Task(
        'vqa/beit3_fusion_shapes.py', {'vqa/score': 'VQA score'}, _ANSWERS
    ),
    'nlvr2': Task(
        'nlvr2/beit3_fusion_shapes_nlvr2.py',
        {'nlvr2/accuracy': 'accuracy'},
        _TEXT,
        start='vqa',
    ),
    'caption': Task(
        'caption/beit3_caption_shapes.py', {'caption/CIDEr': 'CIDEr-D'}, _TEXT
    ),
    'classification': Task(
        'classification/beit3_linear_shapes.py', {'accuracy/top1': 'top-1'}
    ),
}

QUESTIONS = (
    'How many objects are there?',
    'What color is the largest object?',
    'What is the leftmost object?',
    'Are there more circles than squares?',
    'What shape is the highest object?',
    'Is there a red circle?',
)
STATEMENTS = (
    'Both images contain a circle.',
    'Exactly one of the images contains a red object.',
    'Both images contain a blue triangle.',
)


def example_inputs(name: str) -> tuple[list[str], list[str]]:
    """Returns held-out images and texts for pictures of a task.

    Args:
        name: A key of `TASKS` that is not dense.

    Returns:
        Paths of images, and the texts that tools/infer.py asks of them.
    """
    if name == 'classification':
        files = sorted((DATA / 'imagenet/val').rglob('*.JPEG'))
        return [str(x) for x in files[:: len(files) // NUM_PICTURES]], []
    content = json.loads((DATA / 'coco/dataset_coco.json').read_text())
    scenes = [x for x in content['images'] if x['split'] == 'test']
    scenes = scenes[:NUM_PICTURES]
    images = [
        str(DATA / 'coco' / x['filepath'] / x['filename']) for x in scenes
    ]
    captions = [x['sentences'][1]['raw'] for x in scenes]
    texts = {
        'vqa': list(QUESTIONS),
        'nlvr2': list(STATEMENTS),
        'retrieval': captions,
    }
    return images, texts.get(name, [])
