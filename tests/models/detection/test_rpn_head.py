# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import torch

from beit3_mm.models.detection import RPNHead, SoftNMSBBoxHead
from beit3_mm.models.necks import SimpleFeaturePyramid


def test_outputs_are_float32_under_autocast():
    neck = SimpleFeaturePyramid(in_channels=8, out_channels=4)
    rpn = RPNHead(in_channels=4, feat_channels=4)
    head = SoftNMSBBoxHead(
        num_shared_convs=1,
        num_shared_fcs=1,
        in_channels=4,
        conv_out_channels=4,
        fc_out_channels=8,
        roi_feat_size=3,
        num_classes=2,
    )
    with torch.autocast('cpu', torch.bfloat16):
        maps = neck((torch.randn(1, 8, 4, 4),))
        scores, deltas = rpn(maps)
        classes, boxes = head(torch.randn(5, 4, 3, 3))
    for x in (*maps, *scores, *deltas, classes, boxes):
        assert x.dtype == torch.float32


def test_without_autocast_it_is_mmdets_head():
    torch.manual_seed(0)
    head = RPNHead(in_channels=4, feat_channels=4, num_convs=2)
    maps = (torch.randn(2, 4, 6, 5), torch.randn(2, 4, 3, 3))
    scores, deltas = head(maps)
    expected = super(RPNHead, head).forward(maps)
    for ours, theirs in zip((scores, deltas), expected):
        assert all(map(torch.equal, ours, theirs))
