# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import os
import signal

import pytest

from beit3_mm.engine.dead_workers import dead_workers_explained


@pytest.mark.parametrize(
    'text',
    [
        'DataLoader worker (pid 5) is killed by signal: Killed. ',
        'DataLoader worker (pid(s) 5, 6) exited unexpectedly',
    ],
)
def test_what_to_do_is_said(text):
    with pytest.raises(ChildProcessError) as error, dead_workers_explained():
        raise RuntimeError(text)
    said = str(error.value)
    assert said.startswith(f'{text.rstrip(". ")}. Mostly')
    for part in ('/dev/shm', '--resume', '.num_workers=1', '.num_workers=0'):
        assert part in said


@pytest.mark.skipif(
    not hasattr(signal, 'SIGCHLD'), reason='Windows has no SIGCHLD'
)
def test_a_second_worker_that_dies_is_not_told_of():
    def tell(number, frame):
        raise RuntimeError('DataLoader worker (pid 6) is killed')

    former = signal.signal(signal.SIGCHLD, tell)
    try:
        with pytest.raises(ChildProcessError), dead_workers_explained():
            os.kill(os.getpid(), signal.SIGCHLD)
        os.kill(os.getpid(), signal.SIGCHLD)
    finally:
        signal.signal(signal.SIGCHLD, former)


def test_other_errors_pass():
    with (
        pytest.raises(RuntimeError, match='shapes differ'),
        dead_workers_explained(),
    ):
        raise RuntimeError('shapes differ')
