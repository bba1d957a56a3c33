# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The demo: generates scenes, trains a model, tests it, shows the result.

`make demo` runs it for a detector, `demo.py TASK` for any task. A run that was
killed goes on where it stopped; `make clean-demo` starts anew.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from baselines import BASELINES
from mmengine.config import Config
from PIL import Image
from tasks import DATA, TASKS, Task, example_inputs

from beit3_mm.engine.safe_checkpoint import latest_checkpoint

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = Path('projects/shapes/configs')
# A step has many small operations: two processes of one thread use two cores
# twice as well as one process of two threads.
PROCESSES = 1 if torch.cuda.is_available() else min(2, os.cpu_count() or 1)
BACKEND = ['env_cfg.dist_cfg.backend=gloo'] if PROCESSES > 1 else []
PICTURES = 9  # in the overview


def run(title: str, *command: str, processes: int = 1) -> float:
    """Runs a script of this repository and returns its seconds."""
    environment = dict(os.environ)
    if processes > 1:
        launcher = ('-m', 'torch.distributed.run', '--standalone')
        count = f'--nproc-per-node={processes}'
        command = (*launcher, count, *command, '--launcher=pytorch')
        environment['OMP_NUM_THREADS'] = '1'
    print(f'\n=== {title}\n$ python {" ".join(command)}', flush=True)
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, check=False
    )
    if done.returncode:
        sys.exit(f'error: {title} failed; the messages above say why')
    return time.monotonic() - start


def newest_metrics(work_dir: Path) -> dict[str, float]:
    """Returns the metrics of the last test that was run in a work dir."""
    files = work_dir.glob('*/*.json')
    newest = max(files, key=lambda file: file.stat().st_mtime)
    return json.loads(newest.read_text(encoding='utf-8'))


def overview(folder: Path, out: Path) -> None:
    """Puts the first pictures of a folder into one, three in a row."""
    files = sorted(folder.rglob('*.[jp][pn]g'))[:PICTURES]
    pictures = [Image.open(file).convert('RGB') for file in files]
    width = max(picture.width for picture in pictures)
    height = max(picture.height for picture in pictures)
    rows = -(-len(pictures) // 3)
    sheet = Image.new('RGB', (3 * width, rows * height), 'white')
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % 3 * width, i // 3 * height))
    sheet.save(out)


def make_inputs(*tasks: Task) -> None:
    """Generates scenes and what else tasks read, as far as missing."""
    run('scenes', 'projects/shapes/generate.py')
    for command in dict.fromkeys(c for task in tasks for c in task.commands):
        if not (ROOT / command.file).exists():
            run(command.title, *command.arguments)


class Demo:
    """One task's run, in a folder of its own.

    Args:
        name: A key of `TASKS`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.task: Task = TASKS[name]
        self.config = str(CONFIGS / self.task.config)
        self.folder = Path('work_dirs/shapes') / name

    def checkpoint(self) -> str | None:
        """Returns the newest checkpoint, None where there is none."""
        return latest_checkpoint(str(ROOT / self.folder))

    def refuse_other_inputs(self) -> None:
        """Ends if the folder holds results of another config or data."""
        made_from = hashlib.sha256(
            Config.fromfile(ROOT / self.config).pretty_text.encode()
        )
        made_from.update((ROOT / DATA / 'generated.json').read_bytes())
        note = ROOT / self.folder / 'made_from'
        if not note.exists():
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(made_from.hexdigest(), encoding='utf-8')
        elif note.read_text(encoding='utf-8') != made_from.hexdigest():
            sys.exit(
                f'error: {self.folder} was made from another config or other '
                'data; run `make clean-demo` first'
            )

    def prepare(self) -> None:
        """Sees to all that the task reads."""
        make_inputs(self.task)
        start = self.task.start
        if start is not None and Demo(start).checkpoint() is None:
            sys.exit(
                f'error: {self.name} starts from the model of {start}: run '
                f'`python projects/shapes/demo.py {start}` first'
            )
        self.refuse_other_inputs()

    def train(self) -> float:
        """Trains, or goes on with training, and returns the seconds."""
        batch_size = Config.fromfile(ROOT / self.config).train_dataloader
        batch_size = batch_size.batch_size // PROCESSES
        return run(
            'training',
            'tools/train.py',
            self.config,
            f'--work-dir={self.folder}',
            '--resume',
            '--cfg-options',
            f'train_dataloader.batch_size={batch_size}',
            *BACKEND,
            processes=PROCESSES,
        )

    def test(self, title: str, *options: str) -> str:
        """Tests the newest checkpoint and returns its metrics in words."""
        folder = self.folder / title.replace(' ', '_')
        run(
            f'test, {title}',
            'tools/test.py',
            self.config,
            str(self.checkpoint()),
            f'--work-dir={folder}',
            *options,
            *(['--cfg-options', *BACKEND] if BACKEND else []),
            processes=PROCESSES,
        )
        metrics = newest_metrics(ROOT / folder)
        return ', '.join(
            f'{words} {metrics[key]:.{self.task.digits}f}'
            for key, words in self.task.metrics.items()
        )

    def results(self, pictures: Path) -> list[str]:
        """Tests, draws pictures, and returns lines of results."""
        if self.task.dense:
            return [
                self.test('one view', f'--show-dir={pictures}'),
                f'{self.test("several views", "--tta")} with multi-scale and '
                'flip',
            ]
        lines = [self.test('one view')]
        images, texts = example_inputs(self.name)
        model = ('tools/infer.py', self.config, str(self.checkpoint()))
        options = ['--text', *texts] if texts else []
        run('pictures', *model, *images, *options, f'--out-dir={pictures}')
        return lines + BASELINES[self.name](ROOT / DATA)


def main() -> None:
    """Runs all steps and ends with the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'task', nargs='?', choices=list(TASKS), default='det', help='(det)'
    )
    demo = Demo(parser.parse_args().task)
    demo.prepare()
    seconds = demo.train()
    pictures = demo.folder / 'pictures'
    lines = demo.results(pictures)
    curves = ['tools/analysis_tools/plot_curves.py', str(demo.folder)]
    run('loss curve', *curves, '--keys', 'loss')
    overview(ROOT / pictures, ROOT / demo.folder / 'overview.png')
    print(
        f'\n=== results\n'
        f'loss curve: {demo.folder}/curves.png\n'
        f'predictions: {demo.folder}/overview.png, all in {pictures}\n'
        f'held-out scenes, {seconds:.0f} s of training: ' + '; '.join(lines)
    )


if __name__ == '__main__':
    main()
