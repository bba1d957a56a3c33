# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import logging
from types import SimpleNamespace

import pytest
from mmengine.structures import BaseDataElement

from beit3_mm.engine import SkippedSamplesHook


class Loop:
    """A training that gets one batch after the other."""

    def __init__(self, folder, left_out=()):
        dataset = SimpleNamespace(left_out=list(left_out))
        self.logs = []
        logger = logging.Logger('loop')
        logger.handle = lambda record: self.logs.append(
            (record.levelname, record.getMessage())
        )
        self.runner = SimpleNamespace(
            work_dir=str(folder),
            iter=0,
            logger=logger,
            train_dataloader=SimpleNamespace(
                dataset=SimpleNamespace(dataset=dataset)
            ),
        )

    def run(self, batches, interval=2):
        hook = SkippedSamplesHook(interval=interval)
        hook.before_train(self.runner)
        for batch in batches:
            hook.after_train_iter(self.runner, 0, batch)
            self.runner.iter += 1
        hook.after_train(self.runner)
        return self.logs


def batch(**skipped):
    """A batch of one sample of each kind, with what was skipped for it."""
    return dict(
        data_samples={
            kind: [
                BaseDataElement(metainfo=dict(skipped=lines) if lines else {})
            ]
            for kind, lines in skipped.items()
        }
    )


def test_what_was_skipped_is_counted_and_written_once(tmp_path):
    batches = [
        batch(image=['image\ta.jpg is cut'], text=[]),
        batch(image=[], text=[]),
        batch(image=[], text=['text\tb.txt: not\nUTF-8', 'text\tc: blank']),
        batch(image=['image\ta.jpg is cut'], text=[]),
        batch(image=[], text=[]),
    ]
    logs = Loop(tmp_path).run(batches)
    assert (tmp_path / 'skipped.txt').read_text().splitlines() == [
        'image\ta.jpg is cut',
        'text\tb.txt: not UTF-8',
        'text\tc: blank',
    ]
    assert [level for level, _ in logs] == ['WARNING'] * 3
    starts = [message.partition(' samples and')[0] for _, message in logs]
    assert starts == ['Skipped 1', 'Skipped 4', 'Skipped 4']
    assert '; 10 were used' in logs[-1][1]
    assert logs[-1][1].endswith(f'{tmp_path}/skipped.txt')


def test_a_clean_run_writes_nothing(tmp_path):
    logs = Loop(tmp_path).run([batch(image=[])] * 4)
    assert not (tmp_path / 'skipped.txt').exists()
    assert [level for level, _ in logs] == ['INFO']
    assert logs[0][1].startswith('Skipped 0 samples')


def test_what_is_left_out_at_the_start_comes_first(tmp_path):
    loop = Loop(tmp_path, ['pair\t1.tar: cut after 3 bytes'])
    logs = loop.run([batch(pair=['pair\tx'])])
    lines = (tmp_path / 'skipped.txt').read_text().splitlines()
    assert lines == ['pair\t1.tar: cut after 3 bytes', 'pair\tx']
    assert logs[0][0] == 'WARNING'
    assert '1 files or parts of files' in logs[0][1]
    assert '1.tar: cut after 3 bytes' in logs[0][1]


def test_a_resumed_run_goes_on_with_the_file(tmp_path):
    for line in ('image\ta', 'image\tb'):
        lines = ['image\ta', line]
        Loop(tmp_path, ['text\te']).run([batch(image=lines)])
    lines = (tmp_path / 'skipped.txt').read_text().splitlines()
    assert lines == ['text\te', 'image\ta', 'image\tb']


def test_a_file_that_a_kill_has_cut_does_not_stop_a_resume(tmp_path):
    file = tmp_path / 'skipped.txt'
    file.write_bytes('image\ta\nimage\tü'.encode()[:-1])
    Loop(tmp_path).run([batch(image=['image\ta', 'image\tb'])])
    lines = file.read_text().splitlines()
    assert lines == ['image\ta', 'image\t\ufffd', 'image\tb']


def test_an_interval_below_one_is_refused():
    with pytest.raises(ValueError, match='interval=0'):
        SkippedSamplesHook(interval=0)
