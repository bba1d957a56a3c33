# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import inspect

import pytest
from mmengine.registry import METRICS

from beit3_mm import evaluation


@pytest.mark.parametrize('name', evaluation.__all__)
def test_examples_build(name, tmp_path, tokenizer_file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'answers.txt').write_text('yes\nno\n')
    (tmp_path / 'beit3.spm').write_bytes(tokenizer_file.read_bytes())
    cls = getattr(evaluation, name)
    _, _, example = inspect.getdoc(cls).partition('Example:\n')
    metric = METRICS.build(eval(example.strip().removeprefix('>>> ')))
    assert type(metric) is cls
    assert metric.prefix == cls.default_prefix
