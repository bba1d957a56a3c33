# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# Multi-scale + flip test-time augmentation for tools/test.py --tta. The paper
# says "multi-scale" and no more [text]; the scales are EVA-01's for its giant
# [found: baaivision/EVA, seg]: short sides of 512 to 1280.
tta_model = dict(type='beit3_mm.SemanticTTAModel')
tta_scales = [(4 * side, side) for side in (512, 640, 896, 1024, 1152, 1280)]
tta_pipeline = [
    dict(type='beit3_mm.LoadImageFromFile'),
    dict(
        type='mmcv.TestTimeAug',
        transforms=[
            [
                dict(type='mmseg.Resize', scale=scale, keep_ratio=True)
                for scale in tta_scales
            ],
            [
                dict(type='mmcv.RandomFlip', prob=0.0),
                dict(type='mmcv.RandomFlip', prob=1.0),
            ],
            [dict(type='beit3_mm.LoadSemanticMask', num_classes=150)],
            [dict(type='mmseg.PackSegInputs')],
        ],
    ),
]
