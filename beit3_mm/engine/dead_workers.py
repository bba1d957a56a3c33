# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What to do where a worker process of a data loader died."""

import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

WAIT = 5  # seconds until torch hears of a worker whose connection broke


@contextmanager
def dead_workers_explained() -> Iterator[None]:
    """Says what to do where a worker process of a data loader died.

    For the main thread of a process that ends by it: of further children
    that die, torch does not tell any more.

    Raises:
        ChildProcessError: In place of torch's RuntimeError, and of the broken
            connection that may come before it.
    """
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        death = _death(error)
        if death is None:
            raise
        if hasattr(signal, 'SIGCHLD'):  # not on Windows
            # Else torch's handler may raise once more, in what comes next.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        options = '--cfg-options train_dataloader.num_workers'
        raise ChildProcessError(
            f'{death.rstrip(". ")}. Mostly the memory, or the shared '
            f'memory in /dev/shm, ran out: use fewer workers ({options}=1) '
            f'and go on with --resume. If that does not help, {options}=0 '
            'train_dataloader.persistent_workers=False shows the error'
        ) from error


def _death(error: Exception) -> str | None:
    """Returns what torch says of a dead worker, None of other errors."""
    if isinstance(error, RuntimeError):
        said = str(error)
        return said if re.search(r'DataLoader worker \(pid', said) else None
    try:  # Torch's handler raises in here, if a worker broke the connection.
        time.sleep(WAIT)
    except RuntimeError as told:
        return _death(told)
    return None
