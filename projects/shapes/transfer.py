# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Does pretraining help? Tasks are trained from a checkpoint and from scratch.

Both columns have the same steps, data and schedule. The learning rate of each
is the best of one grid with the first seed, whose run is one of the table's,
on the held-out scenes that the table is about. A command that was stopped goes
on with the runs that are missing.
"""

import argparse
import functools
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from demo import CONFIGS, make_inputs
from mmengine.config import Config
from tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]
OUT = Path('work_dirs/shapes/transfer')
COLUMNS = ('pretrained', 'scratch')
SEEDS = (0, 1, 2)
# The best of a grid should not be the least or the highest of it.
RATES = {
    'det': (5e-4, 1e-3, 2e-3, 4e-3),
    'seg': (2.5e-4, 5e-4, 1e-3, 2e-3),
    'vqa': (1.25e-4, 2.5e-4, 5e-4, 1e-3, 2e-3),
    'retrieval': (1.25e-4, 2.5e-4, 5e-4, 1e-3, 2e-3),
}
STEPS = {'det': 600, 'seg': 200, 'vqa': 300, 'retrieval': 300}
# R@1 of 500 scenes is too coarse to choose a rate by.
RECALL = ('retrieval/mean_R', 'mean recall (R@1, 5, 10, both ways)')
METRICS = {
    **{task: next(iter(TASKS[task].metrics.items())) for task in STEPS},
    'retrieval': RECALL,
}


@dataclass(frozen=True)
class Run:
    """One training of a task.

    Attributes:
        task: A key of `TASKS`.
        column: One of `COLUMNS`.
        rate: Peak of the learning rate.
        seed: Of weights, order and augmentation.
    """

    task: str
    column: str
    rate: float
    seed: int

    @property
    def folder(self) -> Path:
        """Where its log and its result lie."""
        return OUT / self.task / f'{self.column}_{self.rate:g}_{self.seed}'

    @property
    def config(self) -> Path:
        """Its config, beside the folder: mmengine writes its own copy in."""
        return self.folder.parent / f'{self.folder.name}.py'

    def result(self) -> float | None:
        """Returns the metric of the task; None before the end."""
        file = ROOT / self.folder / 'result.json'
        if not file.exists():
            return None
        metrics = json.loads(file.read_text(encoding='utf-8'))
        name, _ = METRICS[self.task]
        if self.task == 'det':  # mmdet says nothing of detectors without boxes
            return metrics.get(name, 0.0)
        return metrics[name]


def short_config(task: str, steps: int, rate: float) -> Config:
    """Returns a task's config with another schedule, the same for all tasks.

    Args:
        task: A key of `TASKS`.
        steps: Of training; a tenth of them are the warm-up.
        rate: Peak of the learning rate.
    """
    config = Config.fromfile(ROOT / CONFIGS / TASKS[task].config)
    config.train_cfg = dict(
        type='mmengine.IterBasedTrainLoop',
        max_iters=steps,
        val_interval=steps,
    )
    config.train_dataloader.sampler = dict(type='beit3_mm.InfiniteSampler')
    # Two runs at once use two cores better than two workers do.
    config.train_dataloader.update(num_workers=0, persistent_workers=False)
    config.optim_wrapper.optimizer.lr = rate
    warm_up = steps // 10
    config.param_scheduler = [
        dict(
            type='mmengine.LinearLR',
            start_factor=0.01,
            by_epoch=False,
            end=warm_up,
        ),
        dict(
            type='mmengine.CosineAnnealingLR',
            by_epoch=False,
            begin=warm_up,
            end=steps,
            eta_min=0.01 * rate,
        ),
    ]
    config.log_processor.by_epoch = False
    config.default_hooks.checkpoint.update(
        by_epoch=False, interval=steps, max_keep_ckpts=1
    )
    return config


def config_text(run: Run, steps: int, start: str) -> str:
    """Returns the config file of a run, from which nothing else differs.

    Args:
        run: The run.
        steps: Of training.
        start: Checkpoint of the pretrained column; its hash is in the text.
    """
    config = short_config(run.task, steps, run.rate)
    config.randomness.seed = run.seed
    config.load_from = start if run.column == 'pretrained' else None
    lines = [f'# {_digest(start)}'] if config.load_from else []
    # `config.dump` would format it, for seconds.
    lines += [f'{key} = {value!r}' for key, value in config.to_dict().items()]
    return '\n'.join(lines)


@functools.cache
def _digest(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def train(run: Run, steps: int, start: str) -> float:
    """Trains and tests, unless that was done, and returns the metric.

    Raises:
        RuntimeError: If the training fails.
        ValueError: If it was done from another checkpoint or config.
    """
    folder, config = ROOT / run.folder, ROOT / run.config
    text = config_text(run, steps, start)
    if (result := run.result()) is not None:
        if config.read_text(encoding='utf-8') != text:
            raise ValueError(
                f'{run.folder} is the result of another checkpoint or config '
                f'than that of {steps} steps from {start}: remove '
                f'{run.folder.parent} to fill this row anew'
            )
        return result
    folder.mkdir(parents=True, exist_ok=True)
    config.write_text(text, encoding='utf-8')
    command = [sys.executable, 'tools/train.py', str(run.config)]
    with open(folder / 'log.txt', 'w', encoding='utf-8') as log:
        done = subprocess.run(
            [*command, f'--work-dir={run.folder}'],
            cwd=ROOT,
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f'training failed, see {run.folder}/log.txt')
    _keep_result(folder)
    return run.result()


def _keep_result(folder: Path) -> None:
    """Writes the metrics of a finished run, and drops its weights."""
    scalars = max(folder.glob('*/vis_data/scalars.json'))
    lines = scalars.read_text(encoding='utf-8').splitlines()
    if 'loss' in json.loads(lines[-1]):
        raise RuntimeError(
            f'{scalars} ends with a step of training: another process trains '
            'in that folder'
        )
    part = folder / 'result.json.part'
    part.write_text(lines[-1], encoding='utf-8')
    part.rename(folder / 'result.json')
    for file in folder.glob('*.pth'):
        file.unlink()


def train_all(runs: list[Run], start: str, processes: int) -> list[float]:
    """Trains several at a time, and says how long the rest will take."""
    # Those of another checkpoint are refused before hours of training.
    values = {
        run: train(run, STEPS[run.task], start)
        for run in runs
        if run.result() is not None
    }
    missing = [run for run in runs if run not in values]
    begin, done = time.monotonic(), 0

    def one(run: Run) -> None:
        nonlocal done
        values[run] = train(run, STEPS[run.task], start)
        done += 1
        left = (time.monotonic() - begin) / done * (len(missing) - done)
        print(
            f'[{done}/{len(missing)}] {run.folder}: {values[run]:.3f}, '
            f'ETA {left / 60:.0f} min',
            flush=True,
        )

    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(one, missing))
    return [values[run] for run in runs]


def best_rates(
    tasks: list[str], start: str, processes: int
) -> dict[tuple[str, str], float]:
    """Returns the best rate of the grid for each task and column."""
    runs = [
        Run(task, column, rate, SEEDS[0])
        for task in tasks
        for column in COLUMNS
        for rate in RATES[task]
    ]
    values = dict(zip(runs, train_all(runs, start, processes)))
    return {
        (task, column): max(
            RATES[task],
            key=lambda rate: values[Run(task, column, rate, SEEDS[0])],
        )
        for task in tasks
        for column in COLUMNS
    }


def table(tasks: list[str], start: str, processes: int) -> str:
    """Trains what is missing and returns the results in markdown."""
    rates = best_rates(tasks, start, processes)
    runs = [
        Run(task, column, rate, seed)
        for (task, column), rate in rates.items()
        for seed in SEEDS
    ]
    values = dict(zip(runs, train_all(runs, start, processes)))
    lines = [
        f'| task | steps | {" | ".join(COLUMNS)} |',
        '|---|---|---|---|',
    ]
    for task in tasks:
        cells = []
        for column in COLUMNS:
            rate = rates[task, column]
            found = [values[Run(task, column, rate, seed)] for seed in SEEDS]
            digits = TASKS[task].digits
            cells.append(
                f'{statistics.mean(found):.{digits}f} '
                f'± {statistics.stdev(found):.{digits}f} (lr {rate:g})'
            )
        lines.append(
            f'| {METRICS[task][1]} | {STEPS[task]} | {" | ".join(cells)} |'
        )
    return '\n'.join(lines)


def main() -> None:
    """Fills the table and says where it lies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='of pretraining')
    parser.add_argument(
        '--tasks', nargs='+', choices=list(STEPS), default=list(STEPS)
    )
    parser.add_argument(
        '--processes', type=int, default=os.cpu_count(), help='runs at a time'
    )
    args = parser.parse_args()
    if args.processes < 1:
        parser.error(f'--processes {args.processes} must be at least 1')
    if not Path(args.checkpoint).is_file():
        parser.error(f'{args.checkpoint} is no file')
    start = str(Path(args.checkpoint).resolve())
    tasks = list(dict.fromkeys(args.tasks))
    make_inputs(*(TASKS[task] for task in tasks))
    text = table(tasks, start, args.processes)
    file = OUT / 'table.md'
    (ROOT / file).write_text(text + '\n', encoding='utf-8')
    print(f'\n{text}\n\nmean and standard deviation of seeds {SEEDS}: {file}')


if __name__ == '__main__':
    main()
