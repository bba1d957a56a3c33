# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The commands of docs/inference.md are commands of the tool."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = 'README.md', 'docs/inference.md'


def commands():
    text = '\n'.join((ROOT / page).read_text() for page in PAGES)
    text = text.replace('\\\n', ' ')
    for line in re.findall(r'^    python tools/infer\.py (.+)$', text, re.M):
        if '[' not in line:  # the synopsis
            yield line


def test_each_task_has_one():
    folders = {line.split('/')[1] for line in commands()}
    assert folders >= {'det', 'seg', 'vqa', 'nlvr2', 'caption', 'retrieval'}


@pytest.mark.parametrize('line', commands(), ids=lambda x: x.split()[0])
def test_arguments_and_configs_exist(monkeypatch, line):
    monkeypatch.setattr(sys, 'argv', ['infer.py', *shlex.split(line)])
    args = runpy.run_path(ROOT / 'tools/infer.py')['parse_args']()
    assert (ROOT / args.config).is_file()
    assert args.images
