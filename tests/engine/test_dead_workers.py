# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
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


def test_other_errors_pass():
    with (
        pytest.raises(RuntimeError, match='shapes differ'),
        dead_workers_explained(),
    ):
        raise RuntimeError('shapes differ')
