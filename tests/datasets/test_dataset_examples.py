# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The examples of the data sets' documentation."""

import inspect
import textwrap

import pytest

from beit3_mm.registry import DATASETS


def examples():
    """Yields the registered classes that have one, and their example."""
    DATASETS.import_from_location()
    for cls in DATASETS.module_dict.values():
        _, _, example = inspect.getdoc(cls).partition('Example:')
        if example and cls.__module__.startswith('beit3_mm'):
            lines = textwrap.dedent(example).strip().splitlines()
            yield cls, '\n'.join(line[4:] for line in lines)


def test_data_sets_have_examples():
    names = {cls.__name__ for cls, _ in examples()}
    ours = {'KarpathyDataset', 'NLVR2Dataset', 'NoCapsDataset'}
    vqa = {'VQAv2Dataset', 'VisualGenomeQADataset', 'IndexFileDataset'}
    assert names >= ours | vqa | {'SeededDataset', 'CocoDataset'}


@pytest.mark.parametrize('cls, example', examples())
def test_only_the_files_are_missing(cls, example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = eval(example)
    assert config['type'] == f'beit3_mm.{cls.__name__}'
    with pytest.raises(FileNotFoundError):
        DATASETS.build(config)
