# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Lists VQA's answers: `vqa_answers.py ANNOTATIONS... --out answers.txt`.

An answer is listed if it is what most people said to enough questions:
nine for the 3129 answers of VQAv2 (unilm/beit3, datasets.py). Labels are
numbers of lines, and follow the order in which the answers come: give train
before val for the labels of the released models.
"""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from beit3_mm.datasets.annotation_files import get_field, read_json
from beit3_mm.evaluation.vqa_answers import (
    MIN_COUNT,
    count_answers,
    list_answers,
)


def read_annotations(path: Path) -> list[dict[str, Any]]:
    """Reads the annotations of an official file, `v2_mscoco_*.json`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is another kind of file.
    """
    annotations = get_field(
        read_json(str(path)), 'annotations', list, str(path)
    )
    for number, annotation in enumerate(annotations):
        where = f'{path}, annotations[{number}]'
        get_field(annotation, 'multiple_choice_answer', str, where)
    return annotations


def count_files(files: list[Path]) -> Counter[str]:
    """Counts the answers of files, one after the other, and shows it.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If it is no file of VQA annotations.
    """
    counts: Counter[str] = Counter()
    for number, path in enumerate(files, 1):
        print(f'reading {number} of {len(files)}: {path}', flush=True)
        counts += count_answers(read_annotations(path))
        print(
            f'{counts.total():,} questions, {len(counts):,} different answers',
            flush=True,
        )
    return counts


def write_answers(answers: list[str], out: Path) -> None:
    """Writes one answer a line; the file is whole or not there."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + '.partial')
    partial.write_text(''.join(f'{x}\n' for x in answers), encoding='utf-8')
    os.replace(partial, out)


def parse_args() -> argparse.Namespace:
    """Reads the command line; a wrong number ends with a message."""
    parser = argparse.ArgumentParser(
        description='List the frequent answers of VQA annotations.'
    )
    parser.add_argument(
        'annotations',
        nargs='+',
        type=Path,
        help='official files, such as v2_mscoco_train2014_annotations.json '
        'and v2_mscoco_val2014_annotations.json, in this order',
    )
    parser.add_argument(
        '--out', type=Path, required=True, help='text file to write'
    )
    parser.add_argument(
        '--min-count',
        type=int,
        default=MIN_COUNT,
        help='questions that an answer must be given to '
        '(default: %(default)s)',
    )
    args = parser.parse_args()
    if args.min_count < 1:
        parser.error(f'--min-count {args.min_count}: at least 1')
    return args


def main() -> None:
    """Lists the answers; wrong input ends with one message."""
    args = parse_args()
    try:
        if args.out.exists():
            raise ValueError(f'--out {args.out} exists: choose another name')
        counts = count_files(args.annotations)
        answers = list_answers(counts, args.min_count)
        if not answers:
            most = max(counts.values(), default=0)
            raise ValueError(
                f'--min-count {args.min_count}: no answer is that frequent, '
                f'at most {most} questions share one'
            )
        write_answers(answers, args.out)
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
    covered = sum(counts[answer] for answer in answers) / counts.total()
    print(
        f'answers: {args.out} ({len(answers)} answers given {args.min_count} '
        f'or more times, of {100 * covered:.1f}% of the questions)'
    )


if __name__ == '__main__':
    main()
