# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The demo: generates scenes, trains a detector, tests it, shows the result.

`make demo` runs it. A run that was killed goes on where it stopped;
`make clean-demo` starts anew.
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
from mmengine.config import Config
from PIL import Image

from beit3_mm.engine.safe_checkpoint import latest_checkpoint

ROOT = Path(__file__).resolve().parents[2]
CONFIG = 'projects/shapes/configs/det/beit3_cascade_shapes.py'
DATA = Path('work_dirs/shapes/data')
WORK_DIR = Path('work_dirs/shapes/det')
BATCH_SIZE = 8
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
    pictures = [
        Image.open(file).convert('RGB')
        for file in sorted(folder.rglob('*.jpg'))[:PICTURES]
    ]
    width, height = pictures[0].size
    rows = -(-len(pictures) // 3)
    sheet = Image.new('RGB', (3 * width, rows * height), 'white')
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % 3 * width, i // 3 * height))
    sheet.save(out)


def refuse_other_inputs() -> None:
    """Ends if a work dir holds results of another config or other data."""
    made_from = hashlib.sha256(
        Config.fromfile(ROOT / CONFIG).pretty_text.encode()
    )
    made_from.update((ROOT / DATA / 'generated.json').read_bytes())
    note = ROOT / WORK_DIR / 'made_from'
    if not note.exists():
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(made_from.hexdigest(), encoding='utf-8')
    elif note.read_text(encoding='utf-8') != made_from.hexdigest():
        sys.exit(
            f'error: {WORK_DIR} was made from another config or other data; '
            'run `make clean-demo` first'
        )


def train() -> float:
    """Trains, or goes on with training, and returns the seconds."""
    batch_size = f'train_dataloader.batch_size={BATCH_SIZE // PROCESSES}'
    return run(
        'training',
        'tools/train.py',
        CONFIG,
        f'--work-dir={WORK_DIR}',
        '--resume',
        '--cfg-options',
        batch_size,
        *BACKEND,
        processes=PROCESSES,
    )


def test(title: str, *options: str) -> dict[str, float]:
    """Tests the newest checkpoint and returns box and mask AP."""
    folder = WORK_DIR / title.replace(' ', '_')
    run(
        f'test, {title}',
        'tools/test.py',
        CONFIG,
        str(latest_checkpoint(str(ROOT / WORK_DIR))),
        f'--work-dir={folder}',
        *options,
        *(['--cfg-options', *BACKEND] if BACKEND else []),
        processes=PROCESSES,
    )
    metrics = newest_metrics(ROOT / folder)
    return {kind: metrics[f'coco/{kind}_mAP'] for kind in ('bbox', 'segm')}


def main() -> None:
    """Runs all steps and ends with one line of box and mask AP."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    run('scenes', 'projects/shapes/generate.py', '--formats', 'coco')
    refuse_other_inputs()
    seconds = train()
    pictures = WORK_DIR / 'pictures'
    plain = test('one view', f'--show-dir={pictures}')
    augmented = test('several views', '--tta')
    curves = ['tools/analysis_tools/plot_curves.py', str(WORK_DIR)]
    run('loss curve', *curves, '--keys', 'loss')
    overview(ROOT / pictures, ROOT / WORK_DIR / 'overview.png')
    print(
        f'\n=== results\n'
        f'loss curve: {WORK_DIR}/curves.png\n'
        f'predictions beside ground truth: {WORK_DIR}/overview.png, all in '
        f'{pictures}\n'
        f'held-out scenes, soft-NMS, {seconds:.0f} s of training: '
        f'box AP {plain["bbox"]:.3f} ({augmented["bbox"]:.3f} with '
        f'multi-scale and flip), mask AP {plain["segm"]:.3f} '
        f'({augmented["segm"]:.3f})'
    )


if __name__ == '__main__':
    main()
