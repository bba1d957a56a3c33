# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The figures of the vision-language recipes and of classification.

T2, T12 to T14 and T17 are tables, A is Appendix A of arXiv 2208.10442
(giant). OC is the official code of base and large, microsoft/unilm, folder
beit3: get_started/*.md and run_beit3_finetuning.py.
"""

from typing import NamedTuple

ABSENT = 'absent'


class Recipe(NamedTuple):
    """One line of the tables; a schedule is in epochs, or else in steps."""

    size: str  # of the model
    lr: float
    layer_decay: float
    length: int
    warm_up: int
    batch: int
    drop_path: float
    weight_decay: float
    pixels: int
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    head_lr_mult: float = 1.0
    by_epoch: bool = True
    randaug: bool = False
    max_tokens: int | None = 64
    weights: str | None = None  # of a released file
    figures: dict = {}  # further ones


def _vqa(size, lr, drop_path, pixels=480, **others):
    return Recipe(
        *(size, lr, 1.0, 10, 1, 128, drop_path, 0.01, pixels),
        **dict(
            dict(betas=(0.9, 0.98), head_lr_mult=20.0),
            randaug=True,
            figures=VQA,
            **others,
        ),
    )


def _nlvr2(size, lr, layer_decay, weights):
    return Recipe(
        *(size, lr, layer_decay, 20, 5, 256, 0.2, 0.2, 224),
        weights=weights,
        figures=NLVR2,
    )


def _caption(size, lr):
    return Recipe(
        *(size, lr, 1.0, 10, 1, 256, 0.1, 0.05, 480),
        randaug=True,
        max_tokens=32,
        weights=f'beit3_{size}_patch16_224.pth',
        figures=CAPTION,
    )


def _retrieval(size, lr, layer_decay, length, warm_up, pixels=384):
    return Recipe(
        *(size, lr, layer_decay, length, warm_up, 3072, 0.2, 0.05, pixels),
        weights=f'beit3_{size}_itc_patch16_224.pth',
        figures=RETRIEVAL,
    )


def _linear(size, lr, layer_decay, drop_path):
    return Recipe(
        *(size, lr, layer_decay, 50, 5, 1024, drop_path, 0.05, 224),
        max_tokens=None,
        weights=f'beit3_{size}_patch16_224.pth',
        figures=LINEAR,
    )


VQA = {
    'model.type': 'beit3_mm.FusionEncoder',
    'model.head.type': 'beit3_mm.VQAHead',
    'model.head.num_answers': 3129,
    'model.backbone.final_norm': False,  # OC
}
NLVR2 = {
    'model.type': 'beit3_mm.FusionEncoder',
    'model.head.type': 'beit3_mm.NLVR2Head',
    'model.backbone.final_norm': ABSENT,
}
CAPTION = {
    'model.type': 'beit3_mm.ImageToText',
    'model.head.vocab_size': 64010,
    'model.head.label_smoothing': 0.1,
    'model.head.drop_worst_ratio': 0.2,
    'model.head.drop_worst_after': 12000,
    'model.beam_search.num_beams': 3,
    'model.beam_search.length_penalty': 0.6,
    # OC: its evaluations leave out `--num_max_bpe_tokens 32`
    'model.beam_search.max_tokens': 64,
}
RETRIEVAL = {
    'model.type': 'beit3_mm.DualEncoder',
    'model.head.type': 'beit3_mm.ContrastiveHead',
    'model.backbone.final_norm': ABSENT,
}
LINEAR = {
    'model.type': 'mmpretrain.ImageClassifier',
    'model.data_preprocessor.num_classes': 1000,
    'model.data_preprocessor.mean': [123.675, 116.28, 103.53],
    'model.data_preprocessor.std': [58.395, 57.12, 57.375],
    'model.data_preprocessor.batch_augments': {
        'augments': [
            {'type': 'mmpretrain.Mixup', 'alpha': 0.8},
            {'type': 'mmpretrain.CutMix', 'alpha': 1.0},
        ]
    },
    'model.head.label_smoothing': 0.1,
    'model.head.num_classes': 1000,
}
NAMES = {
    'model.type': 'beit3_mm.ClassNameClassifier',
    'model.label_smoothing': 0.1,
    'model.batch_classes': ABSENT,
}
HALVES = {  # BEiT-3's mean and std
    'model.data_preprocessor.mean': [127.5] * 3,
    'model.data_preprocessor.std': [127.5] * 3,
}
PAIRS = 'work_dirs/beit3-giant_dual_pairs/epoch_5.pth'
INDOMAIN = 'beit3_{}_indomain_patch16_224.pth'.format
PRETRAINED = 'beit3_{}_patch16_224.pth'.format
_T14 = ('giant', 1e-5, 0.95)
_GIANT_COCO = Recipe(  # T14
    *_T14, 15, 3, 3072, 0.3, 0.05, 420, weights=PAIRS, figures=RETRIEVAL
)
_GIANT_FLICKR30K = Recipe(  # T14
    *_T14, 20, 5, 3072, 0.3, 0.05, 420, weights=PAIRS, figures=RETRIEVAL
)
_STAGE = Recipe(  # A
    *('giant', 3e-5, 0.95, 5, 1, 16384, 0.3, 0.05, 224), figures=RETRIEVAL
)
_BASE_FLICKR30K = _retrieval('base', 1e-4, 0.65, 20, 5)  # OC
_LARGE_FLICKR30K = _retrieval('large', 5e-5, 0.85, 20, 5)  # OC

VISION_LANGUAGE = {
    'vqa/beit3_fusion_vqav2.py': _vqa(
        'base', 3e-5, 0.1, weights=PRETRAINED('base')
    ),
    'vqa/beit3-large_fusion_vqav2.py': _vqa(
        'large', 2e-5, 0.15, weights=PRETRAINED('large')
    ),
    'vqa/beit3-large_fusion_vqav2-vg_768.py': _vqa(
        'large', 2e-5, 0.15, 768, weights=INDOMAIN('large')
    ),
    'vqa/beit3-giant_fusion_vqav2.py': Recipe(  # T12
        *('giant', 1e-5, 1.0, 10, 1, 128, 0.4, 0.01, 756),
        randaug=True,
        figures=VQA,
    ),
    'nlvr2/beit3_fusion_nlvr2.py': _nlvr2(
        'base', 7e-4, 0.65, PRETRAINED('base')
    ),
    'nlvr2/beit3_fusion_nlvr2_indomain.py': _nlvr2(
        'base', 5e-4, 0.65, INDOMAIN('base')
    ),
    'nlvr2/beit3-large_fusion_nlvr2.py': _nlvr2(
        'large', 3e-4, 0.85, PRETRAINED('large')
    ),
    'nlvr2/beit3-large_fusion_nlvr2_indomain.py': _nlvr2(
        'large', 1e-4, 0.85, INDOMAIN('large')
    ),
    'nlvr2/beit3-giant_fusion_nlvr2.py': Recipe(  # T12
        *('giant', 1e-3, 0.8, 20, 5, 256, 0.4, 0.05, 224), figures=NLVR2
    ),
    'caption/beit3_caption_coco.py': _caption('base', 4e-5),
    'caption/beit3-large_caption_coco.py': _caption('large', 8e-6),
    'caption/beit3_caption_nocaps.py': _caption('base', 1e-5),
    'caption/beit3-large_caption_nocaps.py': _caption('large', 8e-6),
    'caption/beit3-giant_caption_coco.py': Recipe(  # T13
        *('giant', 8e-6, 1.0, 16000, 1600, 256, 0.3, 0.01, 392),
        by_epoch=False,
        randaug=True,
        max_tokens=32,
        figures=CAPTION,
    ),
    'retrieval/beit3_dual_coco.py': _retrieval('base', 2e-4, 0.65, 15, 3),
    'retrieval/beit3-large_dual_coco.py': _retrieval(
        'large', 5e-5, 0.85, 15, 3
    ),
    'retrieval/beit3-giant_dual_coco.py': _GIANT_COCO,
    'retrieval/beit3-giant_dual_coco_direct.py': _GIANT_COCO._replace(
        weights=None
    ),
    'retrieval/beit3_dual_flickr30k.py': _BASE_FLICKR30K,
    'retrieval/beit3-large_dual_flickr30k.py': _LARGE_FLICKR30K,
    'retrieval/beit3-giant_dual_flickr30k.py': _GIANT_FLICKR30K,
    'retrieval/beit3-giant_dual_flickr30k_direct.py': (
        _GIANT_FLICKR30K._replace(weights=None)
    ),
    'retrieval/beit3-giant_dual_pairs.py': _STAGE,
    'retrieval/beit3_dual_flickr30k_zeroshot.py': _BASE_FLICKR30K._replace(
        pixels=224
    ),
    'retrieval/beit3-large_dual_flickr30k_zeroshot.py': (
        _LARGE_FLICKR30K._replace(pixels=224)
    ),
    'retrieval/beit3-giant_dual_flickr30k_zeroshot.py': _STAGE,
    'classification/beit3_linear_imagenet1k.py': _linear(
        'base', 7e-4, 0.65, 0.15
    ),
    'classification/beit3-large_linear_imagenet1k.py': _linear(
        'large', 2e-4, 0.8, 0.25
    ),
    'classification/beit3-giant_names_imagenet21k.py': Recipe(  # T17
        *('giant', 5e-5, 0.85, 50, 5, 16384, 0.4, 0.05, 224, (0.9, 0.98)),
        eps=1e-6,
        max_tokens=None,
        figures=NAMES,
    ),
    'classification/beit3-giant_names_imagenet1k.py': Recipe(  # T17
        *('giant', 3e-5, 0.95, 15, 3, 2048, 0.4, 0.05, 336),
        max_tokens=None,
        weights='work_dirs/beit3-giant_names_imagenet21k/epoch_50.pth',
        figures=NAMES,
    ),
}

SIZES = {  # T2, T11; OC, README.md
    'base': (768, 12, 12, 3072, 16, True, 0),
    'large': (1024, 24, 16, 4096, 16, True, 0),
    'giant': (1408, 40, 16, 6144, 14, False, 3),
}


def _figures(recipe):
    """Returns the figures of a recipe by dotted keys."""
    width, layers, heads, inner, patch, released, experts = SIZES[recipe.size]
    model = dict(
        embed_dims=width,
        num_layers=layers,
        num_heads=heads,
        feedforward_channels=inner,
        patch_size=patch,
        multiway_attention=released,
        sub_norm=released,
        num_vl_layers=experts,
        drop_path_rate=recipe.drop_path,
        img_size=recipe.pixels,
    )
    optimizer = dict(
        type='AdamW',
        lr=recipe.lr,
        betas=recipe.betas,
        eps=recipe.eps,
        weight_decay=recipe.weight_decay,
    )
    length = 'max_epochs' if recipe.by_epoch else 'max_iters'
    halves = {} if 'data_preprocessor' in str(recipe.figures) else HALVES
    return {
        **{f'model.backbone.{key}': x for key, x in model.items()},
        'model.head.embed_dims': width,
        **{
            f'optim_wrapper.optimizer.{key}': x for key, x in optimizer.items()
        },
        'optim_wrapper.clip_grad': ABSENT,  # OC
        'optim_wrapper.paramwise_cfg.layer_decay_rate': recipe.layer_decay,
        f'train_cfg.{length}': recipe.length,
        'param_scheduler.0.end': recipe.warm_up,
        'auto_scale_lr.base_batch_size': recipe.batch,
        'load_from': recipe.weights,
        **halves,
        **recipe.figures,
    }


VISION_LANGUAGE_FIGURES = {
    name: _figures(recipe) for name, recipe in VISION_LANGUAGE.items()
}
