# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Writes the PyPI package easy-vqa in VQAv2's file formats.

    pip install easy-vqa
    python projects/easy_vqa/convert.py

The package (Victor Zhou, MIT licence) holds 5000 images of 64 x 64 pixels, one
shape each, and 48,248 questions with 13 answers.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PEOPLE = 10  # VQAv2's annotations hold ten answers


def package_data() -> Path:
    """Returns the folder of the package's data.

    Raises:
        ModuleNotFoundError: If easy-vqa is not installed.
    """
    spec = find_spec('easy_vqa')
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            'easy_vqa is not installed: `pip install easy-vqa` first'
        )
    return Path(spec.origin).parent / 'data'


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a file that is there as a whole or not at all."""
    partial = path.with_suffix('.partial')
    partial.write_text(json.dumps(content), encoding='utf-8')
    partial.replace(path)


def convert(source: Path, out: Path, split: str) -> int:
    """Writes one split and returns its number of questions.

    Args:
        source: The package's folder of data.
        out: The folder to write into.
        split: 'train' or 'test'.
    """
    rows = json.loads((source / split / 'questions.json').read_text())
    questions, annotations = [], []
    for number, (text, answer, image_id) in enumerate(rows):
        ids = dict(image_id=image_id, question_id=number)
        questions.append({**ids, 'question': text})
        annotations.append(
            {
                **ids,
                'multiple_choice_answer': answer,
                'answer_type': (
                    'yes/no' if answer in ('yes', 'no') else 'other'
                ),
                'answers': [
                    dict(answer=answer, answer_id=i + 1) for i in range(PEOPLE)
                ],
            }
        )
    write_json(out / f'{split}_questions.json', {'questions': questions})
    write_json(out / f'{split}_annotations.json', {'annotations': annotations})
    lines = sorted({text for text, _, _ in rows})
    (out / f'{split}.txt').write_text('\n'.join(lines) + '\n')
    shutil.copytree(source / split / 'images', out / split, dirs_exist_ok=True)
    return len(rows)


def main() -> None:
    """Converts both splits."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/easy_vqa/data'),
        help='folder to write (work_dirs/easy_vqa/data)',
    )
    out = parser.parse_args().out
    try:
        source = package_data()
    except ModuleNotFoundError as error:
        sys.exit(f'error: {error}')
    out.mkdir(parents=True, exist_ok=True)
    for split in ('train', 'test'):
        number = convert(source, out, split)
        print(f'{out}/{split}_questions.json: {number:,} questions')


if __name__ == '__main__':
    main()
