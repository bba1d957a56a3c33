# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Data sets of images and texts, generated or written by hand."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.logging import MMLogger
from PIL import Image

SHAPES = Path(__file__).parents[2] / 'projects/shapes'
TRAIN, VAL = 20, 16


@pytest.fixture(scope='session')
def shapes(tmp_path_factory):
    """Scenes of `projects/shapes` in the formats of images with texts."""
    sys.path.insert(0, str(SHAPES))
    try:
        import generate
    finally:
        sys.path.remove(str(SHAPES))
    out = tmp_path_factory.mktemp('shapes')
    options = f'--out {out} --train {TRAIN} --val {VAL} --formats'
    formats = ['karpathy', 'vqav2', 'nlvr2', 'imagenet']
    assert generate.main([*options.split(), *formats]) == 0
    return out


@pytest.fixture
def write_json(tmp_path):
    """Writes JSON, or lines of JSON, below a folder; returns the name."""

    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith('.json') and not isinstance(content, str):
            content = json.dumps(content)
        elif not isinstance(content, str):
            content = ''.join(json.dumps(line) + '\n' for line in content)
        path.write_text(content)
        return name

    return write


@pytest.fixture
def write_image(tmp_path):
    """Writes an image of 8 x 6 pixels; returns its path as a str."""

    def write(name):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(name)).integers(0, 256, (6, 8, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        return str(path)

    return write


@pytest.fixture
def log(monkeypatch):
    """Collects the warnings, and what else is logged."""
    records = []
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, 'handle', records.append)
    monkeypatch.setattr(logger, 'isEnabledFor', lambda level: True)
    return records
