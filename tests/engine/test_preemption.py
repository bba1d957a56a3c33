# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import os
import signal
import threading

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from beit3_mm.engine import preemption
from beit3_mm.engine.preemption import Preempted
from beit3_mm.engine.safe_checkpoint import latest_checkpoint

PREEMPTION = {'type': 'beit3_mm.PreemptionHook'}
KEEP_ALL = {'type': 'CheckpointHook', 'interval': 1}


@HOOKS.register_module()
class SignalHook(Hook):
    """Sends a signal to this process, and to the workers too."""

    def __init__(self, iteration, number=signal.SIGTERM, stage='train'):
        self.iteration, self.number = iteration, number
        self.stage = stage

    def after_train_iter(self, runner, batch_idx, data_batch, outputs):
        if self.stage == 'train' and runner.iter + 1 == self.iteration:
            iterator = runner.train_dataloader._iterator
            if iterator is not None:
                for worker in iterator._workers:
                    # As the shell does: this process is their parent, whom
                    # they obey.
                    os.system(f'kill -{int(self.number)} {worker.pid}')
            os.kill(os.getpid(), self.number)

    def before_val_iter(self, runner, batch_idx, data_batch):
        if self.stage == 'val' and runner.iter == self.iteration:
            os.kill(os.getpid(), self.number)


@pytest.fixture(autouse=True)
def former_handlers():
    numbers = signal.SIGTERM, signal.SIGUSR1
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before):
        signal.signal(number, handler)


def seen(runner):
    """Returns the inputs of each iteration; ends the workers, if any."""
    workers = runner.train_dataloader._iterator
    if workers is not None:  # garbage collection would take seconds
        workers._shutdown_workers()
    return torch.stack(runner.model.seen)


@pytest.fixture
def preempt(make_runner, tmp_path):
    """Trains until the signal; returns the runner and the message."""

    def run(iteration, iterations=False, signal_options=None, **changes):
        send = dict(type='SignalHook', iteration=iteration)
        send.update(signal_options or {})
        runner = make_runner(
            iterations, custom_hooks=[PREEMPTION, send], **changes
        )
        with pytest.raises(Preempted) as end:
            runner.train()
        return runner, str(end.value)

    return run


@pytest.mark.parametrize('iterations', [False, True])
@pytest.mark.parametrize('num_workers', [0, 1])
def test_a_preempted_run_goes_on_with_the_next_sample(
    make_runner, preempt, tmp_path, iterations, num_workers
):
    whole = make_runner(iterations, work_dir=str(tmp_path / 'whole'))
    whole.train()
    handlers = signal.getsignal(signal.SIGTERM)
    # Iteration 6 is the second of the second epoch.
    runner, message = preempt(6, iterations, num_workers=num_workers)
    assert signal.getsignal(signal.SIGTERM) == handlers
    name = f'epoch_{0 if iterations else 1}_iter_6.pth'
    path = str(tmp_path / 'work' / name)
    assert message == (
        f'SIGTERM ended the training at iteration 6; saved {path}; go on '
        'with --resume'
    )
    assert latest_checkpoint(str(tmp_path / 'work')) == path
    resumed = make_runner(
        iterations,
        num_workers=num_workers,
        load_from=path,
        resume=True,
        custom_hooks=[PREEMPTION],
    )
    resumed.train()
    assert signal.getsignal(signal.SIGTERM) == handlers
    torch.testing.assert_close(
        torch.cat([seen(runner), seen(resumed)]), seen(whole)
    )
    torch.testing.assert_close(
        resumed.model.state_dict(), whole.model.state_dict()
    )


def test_accumulated_gradients_are_used_first(make_runner, preempt, tmp_path):
    optim_wrapper = make_runner().cfg.optim_wrapper.to_dict()
    optim_wrapper['accumulative_counts'] = 4
    changes = dict(iterations=True, optim_wrapper=optim_wrapper)
    whole = make_runner(work_dir=str(tmp_path / 'whole'), **changes)
    whole.train()
    _, message = preempt(6, **changes)
    assert 'at iteration 8;' in message
    resumed = make_runner(
        load_from=str(tmp_path / 'work' / 'epoch_0_iter_8.pth'),
        resume=True,
        **changes,
    )
    resumed.train()
    torch.testing.assert_close(
        resumed.model.state_dict(), whole.model.state_dict()
    )


def test_each_signal_replaces_the_checkpoint_of_the_one_before(
    make_runner, preempt, tmp_path
):
    epochs = {'checkpoint': KEEP_ALL}
    hooks = make_runner().cfg.default_hooks.to_dict() | epochs
    preempt(2, default_hooks=hooks)
    last = latest_checkpoint(str(tmp_path / 'work'))
    users = tmp_path / 'work' / 'epoch_1_iter_6_good.pth'
    users.write_bytes(b'')
    preempt(7, default_hooks=hooks, load_from=last, resume=True)
    files = {path.name for path in (tmp_path / 'work').glob('*.pth')}
    assert files == {'epoch_1.pth', 'epoch_1_iter_7.pth', users.name}


def test_a_validation_is_finished_first(preempt, validation):
    send = {'stage': 'val'}
    runner, message = preempt(4, signal_options=send, **validation)
    assert 'at iteration 5;' in message
    assert runner.message_hub.get_scalar('val/number').current() == 4


def test_slurm_sends_another_signal(preempt, monkeypatch):
    usr1 = {'number': signal.SIGUSR1}
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    monkeypatch.setenv('SLURM_JOB_ID', '1')
    _, message = preempt(3, signal_options=usr1)
    assert message.startswith('SIGUSR1 ended the training at iteration 3')
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN


def test_without_slurm_its_signal_is_left_alone(make_runner):
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    send = dict(type='SignalHook', iteration=3, number=signal.SIGUSR1)
    runner = make_runner(custom_hooks=[PREEMPTION, send])
    runner.train()
    assert runner.iter == 12


def test_in_another_thread_it_says_that_it_is_deaf(make_runner):
    runner = make_runner(custom_hooks=[PREEMPTION])
    warnings = []
    runner.logger.warning = lambda text, *_: warnings.append(text)
    thread = threading.Thread(target=runner.train)
    thread.start()
    thread.join()
    assert any('cannot hear signals' in text for text in warnings)
    assert runner.iter == 12


def test_flexible_runners_are_preempted(
    make_runner, make_flexible_runner, tmp_path
):
    def build(*hooks, **changes):
        return make_flexible_runner(
            custom_hooks=[PREEMPTION, *hooks], **changes
        )

    first = build(dict(type='SignalHook', iteration=6))
    with pytest.raises(Preempted, match=r'epoch_1_iter_6\.pth'):
        first.train()
    last = latest_checkpoint(str(tmp_path / 'work'))
    resumed = build(load_from=last, resume=True)
    resumed.train()
    whole = make_runner(work_dir=str(tmp_path / 'whole'))
    whole.train()
    torch.testing.assert_close(
        torch.cat([seen(first), seen(resumed)]), seen(whole)
    )


def test_workers_obey_their_parent_alone():
    """Without this, Python would wait for them for ever at its end."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        preemption._start_worker([signal.SIGTERM], None, 0)
        os.write(write, b'x')
        signal.pause()
    assert os.read(read, 1) == b'x'
    os.system(f'kill -TERM {pid}')
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    os.kill(pid, signal.SIGTERM)
    assert os.waitpid(pid, 0) == (pid, 0)
