# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Runs of `tools/train.py` that are killed, told to end, or lose a worker."""

import os
import signal
from pathlib import Path

import pytest
import torch
from accidents import ends, logged, start_training, wait_for_step, workers

from beit3_mm.engine.safe_checkpoint import latest_checkpoint

LAST = 10
# A detector samples its boxes at random; here it leaves out paths too.
SHORT = f"""
train_cfg.update(max_iters={LAST})
val_cfg = val_dataloader = val_evaluator = None
log_processor.update(window_size=1)
custom_hooks = [dict(type='mmengine.EMAHook')]
"""
WORKER = 'train_dataloader.num_workers=1'

pytestmark = pytest.mark.skipif(
    not Path('/proc/self/task').exists(), reason='finds workers as Linux does'
)


def test_a_run_goes_on_behind_each_accident(run_tool, write_config, tmp_path):
    config, whole, run = write_config(SHORT), tmp_path / 'a', tmp_path / 'b'
    run_tool('train', config, '--work-dir', whole)
    output = tmp_path / 'output'

    def start(step):
        # A whole run takes no worker, these one.
        args = (config, '--work-dir', run, '--resume', '--cfg-options', WORKER)
        return start_training(output, step, tmp_path / f'go{step}', *args)

    process = start(3)
    wait_for_step(process, run, 3)
    process.kill()
    assert ends(process) == -signal.SIGKILL
    # The newest file is cut short, as by a disk that was full.
    newest = latest_checkpoint(run)
    cut = Path(run, f'iter_{LAST}.pth')
    cut.write_bytes(Path(newest).read_bytes()[:-100])
    Path(run, 'last_checkpoint').write_text(str(cut))

    process = start(5)
    wait_for_step(process, run, 5)
    os.kill(workers(process.pid)[0], signal.SIGKILL)
    (tmp_path / 'go5').touch()
    assert ends(process) == 1
    said = output.read_text()
    assert f'{cut} is cut short and left out' in said
    assert 'error: DataLoader worker (pid' in said
    assert 'Mostly the memory' in said
    assert 'Traceback' not in said

    process = start(7)
    wait_for_step(process, run, 7)
    for pid in (*workers(process.pid), process.pid):  # as Slurm does
        os.kill(pid, signal.SIGTERM)
    (tmp_path / 'go7').touch()
    assert ends(process) == 143
    newest = latest_checkpoint(run)
    assert Path(newest).name == 'epoch_0_iter_7.pth'
    assert f'saved {newest}; go on with --resume' in output.read_text()

    run_tool('train', config, '--work-dir', run, '--resume')
    expected, found = logged(whole), logged(run)
    assert sorted(found) == list(range(1, LAST + 1))
    for step, rows in found.items():
        for row in rows:
            for key in ('loss', 'loss_bbox', 'loss_mask'):
                assert row[key] == pytest.approx(
                    expected[step][0][key], rel=1e-6
                )
    ends_of = [
        torch.load(folder / f'iter_{LAST}.pth', weights_only=True)
        for folder in (whole, run)
    ]
    for part in ('state_dict', 'ema_state_dict', 'optimizer'):
        torch.testing.assert_close(*(end[part] for end in ends_of))
