# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import os
import signal
import threading

import pytest

from beit3_mm.engine import dead_workers
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


@pytest.fixture
def torch_tells():
    """Raises an error at SIGCHLD, as torch does."""

    def tell(number, frame):
        raise RuntimeError('DataLoader worker (pid 6) is killed')

    former = signal.signal(signal.SIGCHLD, tell)
    yield
    signal.signal(signal.SIGCHLD, former)


def test_a_second_worker_that_dies_is_not_told_of(torch_tells):
    with pytest.raises(ChildProcessError), dead_workers_explained():
        os.kill(os.getpid(), signal.SIGCHLD)
    os.kill(os.getpid(), signal.SIGCHLD)


@pytest.mark.parametrize('error', [ConnectionResetError, EOFError])
def test_a_connection_that_breaks_before_torch_tells(torch_tells, error):
    later = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGCHLD))
    with (
        pytest.raises(ChildProcessError, match=r'\(pid 6\) is killed\. Mostl'),
        dead_workers_explained(),
    ):
        later.start()
        raise error


def test_other_connections_may_break(monkeypatch):
    monkeypatch.setattr(dead_workers, 'WAIT', 0.01)
    with (
        pytest.raises(ConnectionResetError, match='of a store'),
        dead_workers_explained(),
    ):
        raise ConnectionResetError('of a store')


def test_other_errors_pass():
    with (
        pytest.raises(RuntimeError, match='shapes differ'),
        dead_workers_explained(),
    ):
        raise RuntimeError('shapes differ')
