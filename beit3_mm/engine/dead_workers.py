# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What to do where a worker process of a data loader died."""

import re
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def dead_workers_explained() -> Iterator[None]:
    """Says what to do where a worker process of a data loader died.

    Raises:
        ChildProcessError: In place of torch's RuntimeError.
    """
    try:
        yield
    except RuntimeError as error:
        if not re.search(r'DataLoader worker \(pid', str(error)):
            raise
        options = '--cfg-options train_dataloader.num_workers'
        raise ChildProcessError(
            f'{str(error).strip()} Mostly it was killed because the memory, or '
            f'the shared memory in /dev/shm, ran out: use fewer workers '
            f'({options}=1) and go on with --resume. If it dies again, '
            f'{options}=0 train_dataloader.persistent_workers=False shows '
            'the error'
        ) from error
