# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Checks the data of a config: `check_data.py CONFIG [--show sheet.png]`.

Builds data sets and metrics, counts samples, looks for every file that they
name, and reads some samples through the whole pipeline, as training and
testing would. Says what is missing or damaged, and fails if anything is.
"""

import argparse
import copy
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS, DefaultScope
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from beit3_mm.apis.contact_sheet import draw_sample, draw_sheet
from beit3_mm.datasets import MixedDataset, SampleIndex
from beit3_mm.engine.cli import (
    add_config_arguments,
    dicts,
    message,
    plain_errors,
    read_config,
)
from beit3_mm.tokenizer import UNK_ID, load_tokenizer

STAGES = ('train', 'val', 'test')
PATHS = ('img_path', 'img_paths', 'seg_map_path')
NAMED = 3  # files, or samples, that are named of many with a fault
LISTED = 200_000  # samples between two messages
MAX_TILES = 16  # samples of a stage on the sheet


class Check:
    """Looks at the data of a stage; says what it finds.

    Args:
        stage: 'train', 'val' or 'test'.
        config: The whole config.
    """

    def __init__(self, stage: str, config: Config) -> None:
        self.stage = stage
        self.config = config
        self.problems: list[str] = []
        self.tiles: list[Image.Image] = []

    def run(self, number: int | None) -> None:
        """Checks metrics and files, and reads samples: `number`, or all."""
        self._build_metrics()
        dataset = self._build_dataset()
        if dataset is None:
            return
        some = every = range(len(dataset))
        if number is not None and number < len(dataset):
            some = np.linspace(0, len(dataset) - 1, number).astype(int)
        mixed = getattr(dataset, 'dataset', dataset)
        if isinstance(mixed, MixedDataset):
            every = some = _of_each_kind(mixed, number)
            kinds = [f'{len(r):,} of {k}' for k, r in mixed.ranges.items()]
            self._say(f'samples: {", ".join(kinds)}')
            if mixed.left_out:
                self._report(
                    f'{len(mixed.left_out):,} files or parts of files are '
                    'left out:' + _some(mixed.left_out)
                )
        self._look_for_files(dataset, every)
        if self._has_tokenizer():
            self._read(dataset, [int(index) for index in some])

    def _build_metrics(self) -> None:
        metrics = self.config.get(f'{self.stage}_evaluator') or []
        for metric in [metrics] if isinstance(metrics, dict) else metrics:
            try:
                METRICS.build(metric)
            # Whatever keeps it from being built is what the user asks for.
            except Exception as error:
                self._report(f'{metric["type"]}: {message(error)}')

    def _build_dataset(self) -> Dataset | None:
        dataset = self.config[f'{self.stage}_dataloader']['dataset']
        try:
            return DATASETS.build(_strict(dataset))
        except Exception as error:
            self._report(f'{type(error).__name__}: {message(error)}')
            return None

    def _look_for_files(
        self, dataset: Dataset, indices: Sequence[int]
    ) -> None:
        files: set[str] = set()
        for done, index in enumerate(indices):
            files.update(_paths(dataset.get_data_info(int(index))))
            if done and done % LISTED == 0:
                self._say(f'{done:,} of {len(indices):,} samples listed')
        self._say(f'{len(indices):,} samples of {len(files):,} files')
        missing = sorted(
            path
            for path in files
            if '://' not in path and not Path(path).is_file()
        )
        if missing:
            self._report(
                f'{len(missing):,} of {len(files):,} files are missing:'
                + _some(missing)
            )

    def _has_tokenizer(self) -> bool:
        """Whether its file is there: else no sample could be read."""
        loader = self.config[f'{self.stage}_dataloader']
        for part in dicts(loader):
            try:
                if part.get('model_file'):
                    load_tokenizer(part['model_file'])
            except (OSError, ValueError) as error:
                self._report(f'no sample can be read: {error}')
                return False
        return True

    def _read(self, dataset: Dataset, indices: Sequence[int]) -> None:
        texts, shapes, faults = [], set(), []
        for index in indices:
            try:
                sample = dataset[SampleIndex(index, seed=0, epoch=0)]
            except Exception as error:
                faults.append(message(error))
                continue
            inputs = sample['inputs']
            if isinstance(inputs, Tensor):  # of a host
                inputs = {'image': inputs}
            faults += sample['data_samples'].get('skipped', ())
            texts += _ids_of_texts(inputs)
            if 'image' not in inputs:  # a text of pretraining
                continue
            shapes.add(tuple(inputs['image'].shape))
            if len(self.tiles) < MAX_TILES:
                lines = _describe(dataset, index)
                self.tiles.append(draw_sample(inputs['image'], lines))
        self._say(
            f'read {len(indices) - len(faults):,} samples: images '
            f'{sorted(shapes)[:NAMED]} (channels, height, width)'
        )
        if texts:
            lengths = [len(ids) for ids in texts]
            unknown = sum(UNK_ID in ids for ids in texts)
            self._say(
                f'{len(texts):,} texts of {min(lengths)} to {max(lengths)} '
                f'ids; {unknown:,} hold characters that the tokenizer lacks'
            )
        if faults:
            self._report(
                f'{len(faults):,} of {len(indices):,} samples cannot be read:'
                + _some(faults)
            )

    def _say(self, text: str) -> None:
        print(f'{self.stage}: {text}', flush=True)

    def _report(self, problem: str) -> None:
        self.problems.append(problem)
        self._say(f'PROBLEM: {problem}')


def _strict(config: Any) -> Any:
    """Returns a config in which damaged images are errors in training too."""
    config = copy.deepcopy(config)
    for part in dicts(config):
        if 'skip_damaged' in part:
            part['skip_damaged'] = False
    return config


def _of_each_kind(dataset: MixedDataset, number: int | None) -> list[int]:
    """Returns samples of each kind, `number` or all: there are millions."""
    return [
        int(index)
        for range_ in dataset.ranges.values()
        for index in np.linspace(
            range_.start,
            range_.stop - 1,
            min(number or len(range_), len(range_)),
        )
    ]


def _paths(info: dict) -> Iterator[str]:
    """Yields the files that a sample names and that are not read yet."""
    if 'img_bytes' in info or 'rejected' in info:
        return
    for key in PATHS:
        paths = info.get(key) or ()
        yield from (paths,) if isinstance(paths, str) else paths


def _some(texts: list[str]) -> str:
    """Lists the first of many texts, one a line."""
    rest = len(texts) - NAMED
    more = [f'and {rest:,} more'] if rest > 0 else []
    return ''.join(f'\n    {text}' for text in [*texts[:NAMED], *more])


def _ids_of_texts(inputs: dict) -> list[list[int]]:
    """Returns the ids of a sample's texts, none where it has no text."""
    ids = inputs.get('text_ids')
    if ids is None:
        return []
    rows = ids[None] if ids.ndim == 1 else ids
    return [row[row >= 0].tolist() for row in rows]


def _describe(dataset: Dataset, index: int) -> list[str]:
    """Returns what a sample says: its names, texts and labels."""
    info = dataset.get_data_info(index)
    classes = dataset.metainfo.get('classes') or ()
    lines = [Path(path).name for path in _paths(info)]
    for key in ('text', 'captions'):
        texts = info.get(key) or ()
        lines += (texts,) if isinstance(texts, str) else texts
    if 'answers' in info:
        counts = Counter(info['answers']).most_common()
        lines.append(', '.join(f'{text} x {n}' for text, n in counts))
    labels = info.get('answer_labels', [])
    if isinstance(info.get('gt_label'), int):
        labels = [info['gt_label']]
    scores = info.get('answer_scores', [''] * len(labels))
    for label, score in zip(labels, scores):
        name = classes[label] if label < len(classes) else label
        lines.append(f'{name} {score}'.strip())
    return lines


def check_config(
    config: Config, stages: Sequence[str], number: int | None
) -> list[Check]:
    """Checks the stages of a config; equal ones once.

    Raises:
        ValueError: If there is none of them.
    """
    checks, seen = [], {}
    for stage in stages:
        loader = config.get(f'{stage}_dataloader')
        if loader is None:
            print(f'{stage}: the config has no {stage}_dataloader')
            continue
        key = str((loader['dataset'], config.get(f'{stage}_evaluator')))
        if key in seen:
            print(f'{stage}: the same as {seen[key]}')
            continue
        seen[key] = stage
        check = Check(stage, config)
        check.run(number)
        checks.append(check)
    if not checks:
        raise ValueError(f'{config.filename} has no data for {stages}')
    return checks


def parse_args() -> argparse.Namespace:
    """Reads the command line; a wrong number ends with a message."""
    parser = argparse.ArgumentParser(
        description='Check the data of a config, and read some samples.'
    )
    parser.add_argument('config', help='config with dataloaders')
    parser.add_argument(
        '--stages',
        nargs='+',
        choices=STAGES,
        default=STAGES,
        help='which dataloaders to check (default: all)',
    )
    parser.add_argument(
        '--samples',
        type=int,
        default=8,
        help='samples of each stage to read (default: %(default)s)',
    )
    parser.add_argument(
        '--all', action='store_true', help='read every sample, which is slow'
    )
    parser.add_argument(
        '--show', type=Path, help='PNG file: samples with their texts'
    )
    add_config_arguments(parser)
    args = parser.parse_args()
    if args.samples < 1:
        parser.error(f'--samples {args.samples}: at least 1')
    return args


def main() -> None:
    """Checks the data; ends with the number of problems."""
    args = parse_args()
    with plain_errors(args.debug, ValueError, OSError, ImportError):
        config = read_config(args.config, args.cfg_options)
        scope = config.get('default_scope', 'mmengine')
        with DefaultScope.overwrite_default_scope(scope):
            checks = check_config(
                config, args.stages, None if args.all else args.samples
            )
        if args.show and any(check.tiles for check in checks):
            sheet = draw_sheet({check.stage: check.tiles for check in checks})
            args.show.parent.mkdir(parents=True, exist_ok=True)
            sheet.save(args.show)
            print(f'sheet: {args.show}')
    number = sum(len(check.problems) for check in checks)
    if number:
        plural = 's' * (number > 1)
        sys.exit(
            f'{number} problem{plural}; docs/data/ says how the files lie'
        )
    print('no problems')


if __name__ == '__main__':
    main()
