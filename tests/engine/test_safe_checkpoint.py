# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import collections
import errno
import itertools
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.registry import METRICS

from beit3_mm.engine import safe_checkpoint
from beit3_mm.engine.safe_checkpoint import (
    AtomicBackend,
    SafeCheckpointHook,
    checkpoint_to_resume,
    is_whole,
    latest_checkpoint,
)


def write(path):
    torch.save({'weight': torch.zeros(9)}, path)


def read(path):
    return torch.load(path, weights_only=True)


@pytest.fixture
def trained(make_runner, tmp_path):
    """A run of 12 iterations with every part that writes to checkpoints."""
    runner = make_runner(
        iterations=True,
        custom_hooks=[{'type': 'EMAHook'}],
        optim_wrapper={
            'optimizer': {
                'type': 'SGD',
                'lr': 0.1,
                'momentum': 0.9,
                'weight_decay': 0.1,
            },
            # Two groups, so that mmengine keeps its base settings too.
            'paramwise_cfg': {'norm_decay_mult': 0.0},
        },
    )
    runner.message_hub.update_info(
        'odd', {'a': np.float32(1.5), 'b': np.arange(3), 'c': {1, 2}}
    )
    runner.train()
    return runner


def test_checkpoints_load_without_unpickling(trained, tmp_path):
    checkpoint = read(tmp_path / 'work' / 'iter_12.pth')
    assert set(checkpoint) == {
        *('meta', 'state_dict', 'message_hub', 'optimizer'),
        *('param_schedulers', 'ema_state_dict', 'sample_order'),
    }
    odd = checkpoint['message_hub']['runtime_info']['odd']
    assert odd == {'a': 1.5, 'b': [0, 1, 2], 'c': {1, 2}}
    loss = checkpoint['message_hub']['log_scalars']['train/loss']
    assert loss['values'].shape == loss['counts'].shape == (12,)
    torch.testing.assert_close(
        checkpoint['ema_state_dict']['module.linear.weight'],
        trained.model.linear.weight.detach(),
    )


def test_resuming_restores_curves_optimizer_and_schedules(
    trained, make_runner, tmp_path
):
    resumed = make_runner(
        iterations=True,
        custom_hooks=trained.cfg.custom_hooks,
        optim_wrapper=trained.cfg.optim_wrapper,
        load_from=str(tmp_path / 'work' / 'iter_6.pth'),
        resume=True,
        work_dir=str(tmp_path / 'resumed'),
    )
    resumed.train()
    for name in ('train/loss', 'train/lr'):
        history = resumed.message_hub.get_scalar(name)
        assert isinstance(history, HistoryBuffer)
        np.testing.assert_allclose(
            history.data, trained.message_hub.get_scalar(name).data
        )
    for name, value in trained.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value)


def test_state_dict_keeps_the_versions_of_its_modules(trained, tmp_path):
    state = read(tmp_path / 'work' / 'iter_12.pth')['state_dict']
    assert state._metadata['norm']['version'] == 2


def test_objects_that_cannot_be_written_are_named(make_runner):
    runner = make_runner(iterations=True)
    runner.message_hub.update_info('odd', {'a': [object()]})
    with pytest.raises(TypeError, match=r'message_hub.*odd\.a.* is a object'):
        runner.train()


def test_mappings_and_sequences_keep_their_kind():
    checkpoint = {
        'message_hub': {'log_scalars': {}},
        'x': {
            'tuple': (np.int64(1), Path('a')),
            'deque': collections.deque([True]),
            'named': collections.namedtuple('P', 'a')(2),
        },
    }
    runner = SimpleNamespace(message_hub=MessageHub('kinds'))
    SafeCheckpointHook().before_save_checkpoint(runner, checkpoint)
    assert checkpoint['x'] == {
        'tuple': (1, 'a'),
        'deque': [True],
        'named': (2,),
    }
    assert type(checkpoint['x']['tuple'][0]) is int
    assert type(checkpoint['x']['named']) is tuple


def test_a_kill_while_writing_leaves_the_last_checkpoint(tmp_path):
    backend, path = AtomicBackend(), tmp_path / 'new' / 'x.pth'
    backend.put(b'first', path)

    def killed_half_way(file):
        os.fsync = fsync
        os.kill(os.getpid(), signal.SIGKILL)

    fsync, pid = os.fsync, os.fork()
    if pid == 0:
        os.fsync = killed_half_way
        backend.put(b'second', path)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    assert path.read_bytes() == b'first'
    backend.put(b'third', path)
    assert path.read_bytes() == b'third'
    assert [file.name for file in path.parent.iterdir()] == ['x.pth']


def test_a_full_disk_leaves_earlier_checkpoints(tmp_path, monkeypatch):
    backend, path = AtomicBackend(), tmp_path / 'iter_6.pth'
    backend.put(b'first', path)

    def fail(number):
        def fsync(file):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, 'fsync', fsync)

    fail(errno.ENOSPC)
    with pytest.raises(OSError, match='the disk is full') as error:
        backend.put(bytes(3 * 2**20), path)
    assert error.value.errno == errno.ENOSPC
    for part in (f'{path} needs 3.0 MiB', ' MiB are free', '--resume'):
        assert part in str(error.value)
    fail(errno.EIO)
    with pytest.raises(OSError, match='Input/output error'):
        backend.put(b'second', path)
    assert [file.name for file in tmp_path.iterdir()] == ['iter_6.pth']
    assert path.read_bytes() == b'first'


def test_checkpoint_hooks_write_through_the_atomic_backend(
    make_runner, monkeypatch
):
    written = []
    put = AtomicBackend.put
    monkeypatch.setattr(
        AtomicBackend,
        'put',
        lambda self, obj, path: written.append(path) or put(self, obj, path),
    )
    make_runner(iterations=True).train()
    assert [Path(path).name for path in written] == [
        f'iter_{i}.pth' for i in (3, 6, 9, 12)
    ]


@pytest.mark.parametrize(
    ('iterations', 'name', 'position'),
    [(False, 'epoch_1', (1, 4)), (True, 'iter_3', (0, 3))],
)
def test_the_best_checkpoint_leaves_nothing_out(
    make_flexible_runner, validation, tmp_path, iterations, name, position
):
    runner = make_flexible_runner(
        iterations,
        **validation,
        train_cfg={'val_interval': 3 if iterations else 1},
        default_hooks={
            'checkpoint': {
                'by_epoch': not iterations,
                'interval': 3 if iterations else 1,
                'save_best': 'number',
                'rule': 'greater',
            }
        },
    )
    runner.train()
    for file in (name, f'best_number_{name}'):
        meta = read(tmp_path / 'work' / f'{file}.pth')['meta']
        assert (meta['epoch'], meta['iter']) == position


def test_checkpoints_are_deleted_behind_what_replaces_them(
    make_runner, validation, tmp_path, monkeypatch
):
    before, numbers, put = [], itertools.count(), AtomicBackend.put

    def recorded(self, obj, path):
        before.append({file.name for file in Path(path).parent.glob('*.pth')})
        put(self, obj, path)

    monkeypatch.setattr(AtomicBackend, 'put', recorded)
    monkeypatch.setattr(
        METRICS.get('NothingMetric'),
        'compute_metrics',
        lambda self, results: {'number': next(numbers)},
    )
    make_runner(
        iterations=True,
        **validation,
        train_cfg={
            'type': 'IterBasedTrainLoop',
            'max_iters': 12,
            'val_interval': 6,
        },
        default_hooks={
            'checkpoint': {
                'type': 'CheckpointHook',
                'by_epoch': False,
                'interval': 6,
                'max_keep_ckpts': 1,
                'save_best': 'number',
                'rule': 'greater',
            },
            'safe_checkpoint': {'type': 'beit3_mm.SafeCheckpointHook'},
            'sampler_seed': {'type': 'beit3_mm.SampleOrderHook'},
        },
    ).train()
    old = {'iter_6.pth', 'best_number_iter_6.pth'}
    new = {'iter_12.pth', 'best_number_iter_12.pth'}
    # Behind the best one the newest is written again, to name it.
    assert before[1:] == [
        {'iter_6.pth'},
        old,
        old,
        {'iter_12.pth', 'best_number_iter_6.pth'},
        new,
    ]
    assert {file.name for file in tmp_path.glob('work/*.pth')} == new


def test_latest_checkpoint(tmp_path, monkeypatch):
    warned = []
    monkeypatch.setattr(safe_checkpoint, '_warn', warned.append)
    assert latest_checkpoint(str(tmp_path)) is None
    for name in ('iter_9', 'iter_10', 'best_ap_iter_11', 'iter_12-published'):
        write(tmp_path / f'{name}.pth')
    note = tmp_path / 'last_checkpoint'
    for text in ('', str(tmp_path / 'gone.pth')):
        note.write_text(text)
        assert latest_checkpoint(str(tmp_path)) == str(
            tmp_path / 'iter_10.pth'
        )
    note.write_text(str(tmp_path / 'iter_9.pth'))
    # Killed behind the writing of 10; then, gone back to 9.
    for seconds, newest in ((5, 'iter_10'), (-5, 'iter_9')):
        time = (tmp_path / 'iter_9.pth').stat().st_mtime + seconds
        os.utime(tmp_path / 'iter_10.pth', (time, time))
        found = latest_checkpoint(str(tmp_path))
        assert found == str(tmp_path / f'{newest}.pth')
        # A copy without times looks the same: so it is told of.
        assert len(warned) == (newest == 'iter_10')
        warned.clear()


def test_a_copied_folder_resumes_its_own_checkpoint(tmp_path):
    first, copy = tmp_path / 'first', tmp_path / 'copy'
    for folder in (first, copy):
        folder.mkdir()
        write(folder / 'iter_5.pth')
        (folder / 'last_checkpoint').write_text(str(first / 'iter_5.pth'))
    assert latest_checkpoint(str(copy)) == str(copy / 'iter_5.pth')
    (copy / 'iter_5.pth').unlink()  # as with CheckpointHook's out_dir
    assert latest_checkpoint(str(copy)) == str(first / 'iter_5.pth')
    # Of CheckpointHook's out_dir, the one before counts too.
    write(first / 'iter_4.pth')
    (first / 'iter_5.pth').write_bytes(b'')
    write(copy / 'epoch_0_iter_3.pth')
    for _ in range(2):
        assert latest_checkpoint(str(copy)) == str(first / 'iter_4.pth')
        (first / 'iter_5.pth').unlink(missing_ok=True)


def test_checkpoints_within_an_epoch_have_their_place(tmp_path):
    names = ['epoch_9', 'epoch_9_iter_95', 'epoch_10', 'epoch_10_iter_101']
    for name in names:
        write(tmp_path / f'{name}.pth')
        newest = tmp_path / f'{name}.pth'
        assert latest_checkpoint(str(tmp_path)) == str(newest)


def test_files_that_are_cut_short_are_left_out(tmp_path, monkeypatch):
    warned = []
    monkeypatch.setattr(
        safe_checkpoint, 'print_log', lambda text, **_: warned.append(text)
    )
    for number in (3, 6, 9):
        write(tmp_path / f'iter_{number}.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_9.pth'))
    whole = (tmp_path / 'iter_9.pth').read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 0):
        (tmp_path / 'iter_9.pth').write_bytes(whole[:size])
        assert not is_whole(tmp_path / 'iter_9.pth')
        assert latest_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_6.pth')
        assert f'{tmp_path / "iter_9.pth"} is cut short' in warned.pop()
        assert not warned
    for number in (3, 6):
        (tmp_path / f'iter_{number}.pth').write_bytes(b'')
    # What a run says at its end must not fail.
    assert latest_checkpoint(str(tmp_path)) is None
    assert len(warned) == 3
    # The noted file is gone, its folder is called by another name.
    (tmp_path / 'iter_9.pth').rename(tmp_path / 'iter_8.pth')
    warned.clear()
    monkeypatch.chdir(tmp_path.parent)
    assert latest_checkpoint(tmp_path.name) is None
    assert len(warned) == 3
    (tmp_path / 'iter_8.pth').rename(tmp_path / 'iter_9.pth')
    with pytest.raises(ValueError, match=r'all .* cut short: .*iter_9\.pth'):
        checkpoint_to_resume(str(tmp_path))
