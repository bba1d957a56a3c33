# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# How each size attends on maps. base, large: ViTDet [found: detectron2
# projects/ViTDet]. giant: drop path of Table 16 [tables]; window and global
# layers, on which the paper is silent, of EVA-01's giant [found: baaivision/
# EVA, det]: window 16, every 4th layer global.
vitdet_backbones = dict(
    base=dict(
        window_size=14,
        global_attn_indexes=(2, 5, 8, 11),
        drop_path_rate=0.1,
    ),
    large=dict(
        window_size=14,
        global_attn_indexes=(5, 11, 17, 23),
        drop_path_rate=0.4,
    ),
    giant=dict(
        window_size=16,
        global_attn_indexes=tuple(range(3, 40, 4)),
        drop_path_rate=0.6,
        # 1024 and 1280 do not divide by 14: patches are resized to 16, and
        # img_size keeps the table of 16 x 16 positions
        patch_size=16,
        img_size=256,
        with_cp=True,  # ours, to save memory
        init_cfg=None,  # no giant weights were ever released
    ),
)
