# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Training that is told to end, and goes on another time."""

import os
import re
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from beit3_mm.engine.agreement import any_process
from beit3_mm.registry import HOOKS


class Preempted(Exception):
    """A signal ended the training; the message names the checkpoint."""


@HOOKS.register_module()
class PreemptionHook(Hook):
    """Saves a checkpoint and ends the training when a signal asks for it.

    SIGTERM does, and under Slurm SIGUSR1, whichever process gets it. The
    iteration is finished first, with all whose gradients are accumulated for
    one step, and a validation too. The checkpoint is
    `epoch_<complete epochs>_iter_<iterations>.pth` in the working folder; it
    replaces the one of an earlier signal. Behind the last iteration of a
    training the signal changes nothing.

    Raises:
        Preempted: If there was a signal, in all processes.
    """

    # Behind the hooks that count, log and save.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._received = ''  # name of the signal
        self._former: dict[int, Any] = {}

    def before_train(self, runner: Runner) -> None:
        """Starts to listen, in the place of what listened before."""
        if threading.current_thread() is not threading.main_thread():
            runner.logger.warning(
                'PreemptionHook cannot hear signals, for the training is not '
                'in the main thread: a signal ends it without a checkpoint'
            )
            return
        numbers = [signal.SIGTERM]
        if 'SLURM_JOB_ID' in os.environ:
            numbers.append(signal.SIGUSR1)
        for number in numbers:
            self._former[number] = signal.signal(number, self._note)
        loaders = [runner.train_dataloader]
        if runner.val_loop is not None:
            loaders.append(runner.val_dataloader)
        for loader in loaders:
            loader.worker_init_fn = partial(
                _start_worker, numbers, loader.worker_init_fn
            )

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Ends the training if any process got a signal."""
        # Gradients that wait for a step are in no checkpoint.
        counts = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        if (runner.iter + 1) % counts:
            return
        if not any_process(bool(self._received)):
            return
        path = _save(runner)
        text = (
            f'{self._received or "a signal to another process"} ended the '
            f'training at iteration {runner.iter + 1}; saved {path}; go on '
            'with --resume'
        )
        runner.logger.warning(text)
        runner.visualizer.close()
        barrier()  # nobody ends, which kills the others, before all is saved
        self._restore()
        raise Preempted(text)

    def after_train(self, runner: Runner) -> None:
        """Stops to listen."""
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received = signal.Signals(number).name

    def _restore(self) -> None:
        for number, handler in self._former.items():
            # None if it was not installed by Python.
            signal.signal(number, handler or signal.SIG_DFL)
        self._former.clear()


def _start_worker(
    numbers: list[int], init: Callable[[int], None] | None, worker: int
) -> None:
    """Lets a worker outlive signals that all processes of a job get.

    The iteration that is to be finished may need it. It still ends when the
    process that started it says so, with SIGTERM, as Python does at its end.
    """

    def listen() -> None:
        while signal.sigwaitinfo(numbers).si_pid != os.getppid():
            pass
        os._exit(0)

    if hasattr(signal, 'sigwaitinfo'):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        threading.Thread(target=listen, daemon=True).start()
    if init is not None:
        init(worker)


def _save(runner: Runner) -> str:
    """Saves a checkpoint in place of the one of an earlier signal."""
    name = f'epoch_{runner.epoch}_iter_{runner.iter + 1}.pth'
    path = Path(runner.work_dir, name)
    runner.save_checkpoint(
        runner.work_dir,
        name,
        by_epoch=False,
        backend_args={'backend': 'atomic'},
    )
    if is_main_process():
        Path(runner.work_dir, 'last_checkpoint').write_text(str(path))
        for other in path.parent.glob('*.pth'):
            ours = re.fullmatch(r'epoch_\d+_iter_\d+', other.stem)
            if ours and other != path:
                other.unlink()
    return str(path)
