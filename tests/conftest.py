# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Shared by all tests."""

import gc
import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import torch
from mmengine.registry import DefaultScope
from yapf.yapflib import yapf_api

import beit3_mm  # noqa: F401  makes `beit3_mm::` and `mmseg::` known

GOLDEN = Path(__file__).parent / 'golden'
ROOT = Path(__file__).parents[1]

# Two threads that wait for each other are slower than one on a busy machine.
torch.set_num_threads(1)


def pytest_collection_finish():
    """Lets garbage collection pass over the hosts' many objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_default_scope(monkeypatch):
    """Starts without a default scope, whichever runs came before.

    A `Runner` sets one for the whole process; in the scope `mmengine` no
    module of mmdet's can be built by its class.
    """
    monkeypatch.setattr(DefaultScope, '_instance_dict', OrderedDict())


@pytest.fixture(autouse=True)
def plain_config_text(monkeypatch):
    """Leaves the text of configs as it is.

    Each run writes its config several times, and laying it out nicely takes
    yapf seconds each time.
    """
    monkeypatch.setattr(yapf_api, 'FormatCode', lambda text, **_: (text, True))


@pytest.fixture
def golden():
    """Returns a reader of `tests/golden/NAME.npz`: config and tensors."""

    def read(name):
        with np.load(GOLDEN / f'{name}.npz', allow_pickle=False) as file:
            config = json.loads(str(file['config']))
            tensors = {
                key: torch.from_numpy(file[key])
                for key in file.files
                if key != 'config'
            }
        return config, tensors

    return read


@pytest.fixture(scope='session')
def tokenizer_file(tmp_path_factory):
    """Returns a SentencePiece model of 36 pieces."""
    colours = ('red', 'green', 'blue', 'yellow')
    shapes = ('circle', 'square', 'triangle')
    sides = ('left of', 'right of', 'above', 'below')
    lines = [
        f'the {colour} {shape} is {side} how many {other} {shape}s are there'
        for colour in colours
        for other in colours
        for shape in shapes
        for side in sides
    ]
    path = tmp_path_factory.mktemp('tokenizer') / 'tiny.spm'
    with path.open('wb') as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=file,
            vocab_size=36,
            minloglevel=2,
        )
    return path


@pytest.fixture
def tiny_arch():
    """Returns the keys of an `arch` that is quick to run."""
    return dict(
        img_size=32,
        patch_size=8,
        embed_dims=24,
        num_layers=3,
        num_heads=3,
        feedforward_channels=48,
    )


@pytest.fixture
def paper_form():
    """Returns what the paper's form changes in an `arch`."""
    return dict(multiway_attention=False, sub_norm=False, num_vl_layers=1)
