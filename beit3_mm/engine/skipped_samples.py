# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Counts the samples that training leaves out, and says which they are."""

import logging
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from beit3_mm.registry import HOOKS

FILE = 'skipped.txt'


@HOOKS.register_module()
class SkippedSamplesHook(Hook):
    """Reports what was skipped, and writes each to `skipped.txt` once.

    A line of that file in the working folder is the kind of sample and, behind
    a tab, the file with what is wrong with it. It has what data sets left out
    when they were read (empty files, shards that were cut), and samples that
    could not be read in training and were replaced by others. Totals of all
    processes are logged. For `beit3_mm.MixedDataset`.

    Args:
        interval: Iterations between two reports.

    Raises:
        ValueError: If `interval` is below 1.
    """

    # After the other hooks have seen the batch.
    priority = 'LOW'

    def __init__(self, interval: int = 500) -> None:
        if interval < 1:
            raise ValueError(f'{interval=} must be at least 1')
        self.interval = interval
        self._known: set[str] = set()  # what stands in the file
        self._new: list[str] = []  # since the last report, of this process
        self._skipped = self._drawn = 0  # of all processes
        self._drawn_here = 0  # since the last report

    def before_train(self, runner: Runner) -> None:
        """Reads the file of a resumed run; adds what is left out at once."""
        path = Path(runner.work_dir, FILE)
        if is_main_process() and path.is_file():
            text = path.read_text('utf-8', errors='replace')
            if not text.endswith('\n'):  # cut by a kill, even in a letter
                text += '\n'
                path.write_text(text, 'utf-8')
            self._known = set(text.splitlines())
        dataset = runner.train_dataloader.dataset
        dataset = getattr(dataset, 'dataset', dataset)
        left_out = getattr(dataset, 'left_out', [])
        if not left_out or not is_main_process():
            return
        self._write(runner, left_out)
        runner.logger.warning(
            '%d files or parts of files of the training data are left out, '
            'such as %s; all of them: %s',
            len(left_out),
            left_out[0].partition('\t')[2],
            path,
        )

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Notes what was skipped for the samples of a batch."""
        groups = data_batch['data_samples'].values()
        for sample in (sample for group in groups for sample in group):
            self._drawn_here += 1
            self._new += sample.get('skipped', ())
        if self.every_n_train_iters(runner, self.interval):
            self._report(runner)

    def after_train(self, runner: Runner) -> None:
        """Reports what came since the last report, and the total."""
        self._report(runner, last=True)

    def _report(self, runner: Runner, last: bool = False) -> None:
        """Gathers what all processes skipped; logs it where it is news."""
        gathered = all_gather_object((self._drawn_here, self._new))
        self._new, self._drawn_here = [], 0
        lines = [line for _, part in gathered for line in part]
        self._skipped += len(lines)
        self._drawn += sum(drawn for drawn, _ in gathered)
        if not is_main_process():
            return
        self._write(runner, lines)
        if lines or (last and self._skipped):
            level = logging.WARNING
        elif last:
            level = logging.INFO
        else:
            return
        text = (
            f'Skipped {self._skipped:,} samples and drew others in their '
            f'place; {self._drawn:,} were used since the start or resume'
        )
        if self._skipped:
            text += f'. Which and why: {Path(runner.work_dir, FILE)}'
        runner.logger.log(level, text)

    def _write(self, runner: Runner, lines: list[str]) -> None:
        """Appends the lines that are not in the file yet."""
        new = [line.replace('\n', ' ') for line in dict.fromkeys(lines)]
        new = [line for line in new if line not in self._known]
        if not new:
            return
        self._known.update(new)
        path = Path(runner.work_dir, FILE)
        with path.open('a', encoding='utf-8', errors='replace') as file:
            file.writelines(f'{line}\n' for line in new)
