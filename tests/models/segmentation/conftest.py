# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import segmentors
import torch
from mmengine.registry import MODELS


@pytest.fixture
def build_segmentor():
    """Builds it with random weights, for a mode of test and with a head."""

    def build(*args, **options):
        torch.manual_seed(0)
        return MODELS.build(segmentors.config(*args, **options)).eval()

    return build


@pytest.fixture
def make_batch():
    """Makes a batch of images (H, W) with masks, as a data loader does."""
    return segmentors.batch
