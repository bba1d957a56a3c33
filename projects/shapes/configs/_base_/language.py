# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# What the vision-language tasks on generated scenes share. Numbers are ours,
# chosen for 10 minutes of 2 CPU cores.
# Images are neither cropped nor flipped: texts count things, and say where
# they are.
shapes_root = 'work_dirs/shapes/data/'
shapes_tokenizer = 'work_dirs/shapes/shapes.spm'
# 128 pieces; <pad> and <mask> are added, the rest stays free
shapes_text = dict(vocab_size=136, max_text_positions=66)
# The paper's form, with its patches of 14 pixels
shapes_form = dict(
    patch_size=14, multiway_attention=False, sub_norm=False, num_vl_layers=3
)
shapes_size = 140  # scenes of 128 pixels, as 10 x 10 patches
shapes_images = [
    dict(type='beit3_mm.LoadImageFromFile'),
    dict(type='mmcv.Resize', scale=(shapes_size, shapes_size)),
]
shapes_tokenize = dict(
    type='beit3_mm.TokenizeText', model_file=shapes_tokenizer
)
shapes_pack = dict(type='beit3_mm.PackMultimodalInputs')
shapes_pipeline = [*shapes_images, shapes_tokenize, shapes_pack]
