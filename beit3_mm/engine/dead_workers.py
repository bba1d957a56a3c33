# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What to do where a worker process of a data loader died."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def dead_workers_explained() -> Iterator[None]:
    """Says what to do where a worker process of a data loader died.

    For the main thread of a process that ends by it: of further children
    that die, torch does not tell any more.

    Raises:
        ChildProcessError: In place of torch's RuntimeError.
    """
    try:
        yield
    except RuntimeError as error:
        if not re.search(r'DataLoader worker \(pid', str(error)):
            raise
        if hasattr(signal, 'SIGCHLD'):  # not on Windows
            # Else torch's handler may raise once more, in what comes next.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        options = '--cfg-options train_dataloader.num_workers'
        raise ChildProcessError(
            f'{str(error).rstrip(". ")}. Mostly the memory, or the shared '
            f'memory in /dev/shm, ran out: use fewer workers ({options}=1) '
            f'and go on with --resume. If that does not help, {options}=0 '
            'train_dataloader.persistent_workers=False shows the error'
        ) from error
