# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Official weights and ours: tables of names.

BEiT-3's names and shapes are those of `microsoft/unilm`, folder beit3.
`{layer}` is a number, `{modality}` is A or B there and vision or language
here, `{leaf}` is weight or bias. Of ViT-Adapter the adapter alone is read.
"""

import re
from collections.abc import Mapping

import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor, nn

from beit3_mm.engine.loading import load_file, load_weights
from beit3_mm.layers.embeddings import POSITION_OFFSET, resize_positions

_LAYER = 'encoder.layers.{layer}.'
KEY_TABLE = {  # ours: official
    'vision_embedding.proj.{leaf}': 'vision_embed.proj.{leaf}',
    'vision_embedding.cls_token': 'vision_embed.cls_token',
    'vision_embedding.mask_token': 'vision_embed.mask_token',
    'vision_embedding.positions.weight': 'encoder.embed_positions.A.weight',
    'text_embedding.words.weight': 'text_embed.weight',
    'text_embedding.positions.weight': 'encoder.embed_positions.B.weight',
    'encoder.norm.{modality}.{leaf}': 'encoder.layer_norm.{modality}.{leaf}',
    **{
        _LAYER + ours: _LAYER + official
        for ours, official in {
            'attention_norm.{modality}.{leaf}': (
                'self_attn_layer_norm.{modality}.{leaf}'
            ),
            'attention.sub_norm.{modality}.{leaf}': (
                'self_attn.inner_attn_ln.{modality}.{leaf}'
            ),
            **{
                f'attention.{proj}.{{modality}}.{{leaf}}': (
                    f'self_attn.{proj}.{{modality}}.{{leaf}}'
                )
                for proj in ('q_proj', 'k_proj', 'v_proj', 'out_proj')
            },
            'ffn.{modality}.norm.{leaf}': 'final_layer_norm.{modality}.{leaf}',
            'ffn.{modality}.fc1.{leaf}': 'ffn.{modality}.fc1.{leaf}',
            'ffn.{modality}.sub_norm.{leaf}': (
                'ffn.{modality}.ffn_layernorm.{leaf}'
            ),
            'ffn.{modality}.fc2.{leaf}': 'ffn.{modality}.fc2.{leaf}',
        }.items()
    },
}
OFFICIAL_PREFIX = 'beit3.'
# czczup/ViT-Adapter, segmentation/mmseg_custom/models/backbones
ADAPTER_TABLE = {  # ours: official
    'level_embed': 'level_embed',
    'spatial_prior.stem.{number}.{leaf}': 'spm.stem.{number}.{leaf}',
    **{
        f'spatial_prior.convs.{i}.{{number}}.{{leaf}}': (
            f'spm.conv{i + 2}.{{number}}.{{leaf}}'
        )
        for i in range(3)
    },
    **{
        f'spatial_prior.projs.{i}.{{leaf}}': f'spm.fc{i + 1}.{{leaf}}'
        for i in range(4)
    },
    'interactions.{block}.injector.gamma': (
        'interactions.{block}.injector.gamma'
    ),
    **{
        f'interactions.{{block}}.{ours}.{inner}': (
            f'interactions.{{block}}.{official}.{inner_official}'
        )
        for ours, official in {
            'injector': 'injector',
            'extractors.0': 'extractor',
            'extractors.1': 'extra_extractors.0',
            'extractors.2': 'extra_extractors.1',
        }.items()
        for inner, inner_official in {
            'attention.{part}.{leaf}': '{part}.{leaf}',
            'ffn.norm.{leaf}': 'ffn_norm.{leaf}',
            'ffn.dwconv.{leaf}': 'ffn.dwconv.dwconv.{leaf}',
            'ffn.fc1.{leaf}': 'ffn.fc1.{leaf}',
            'ffn.fc2.{leaf}': 'ffn.fc2.{leaf}',
        }.items()
    },
    'up.{leaf}': 'up.{leaf}',
    **{f'norms.{i}.{{leaf}}': f'norm{i + 1}.{{leaf}}' for i in range(4)},
}
_MODALITIES = {'A': 'vision', 'B': 'language'}
_FIELDS = {
    'layer': r'(?P<layer>\d+)',
    'modality': r'(?P<modality>A|B|vision|language)',
    'number': r'(?P<number>\d+)',
    'block': r'(?P<block>\d+)',
    'part': (
        r'(?P<part>query_norm|feat_norm|attn\.(?:sampling_offsets|'
        r'attention_weights|value_proj|output_proj))'
    ),
    'leaf': (
        r'(?P<leaf>weight|bias|running_mean|running_var|num_batches_tracked)'
    ),
}


def _rule(source: str, target: str) -> tuple[re.Pattern, str]:
    pattern = re.escape(source).replace(r'\{', '{').replace(r'\}', '}')
    return re.compile(pattern.format(**_FIELDS)), target


_TO_OURS = [
    _rule(OFFICIAL_PREFIX + official, ours)
    for ours, official in KEY_TABLE.items()
]
_TO_OFFICIAL = [
    _rule(ours, OFFICIAL_PREFIX + official)
    for ours, official in KEY_TABLE.items()
]
_ADAPTER_TO_OURS = [
    _rule(official, ours) for ours, official in ADAPTER_TABLE.items()
]


def _translate(
    name: str,
    rules: list[tuple[re.Pattern, str]],
    modalities: Mapping[str, str],
) -> str | None:
    for pattern, target in rules:
        match = pattern.fullmatch(name)
        if match:
            fields = match.groupdict()
            if 'modality' in fields:
                fields['modality'] = modalities[fields['modality']]
            return target.format(**fields)
    return None


def from_official(name: str) -> str | None:
    """Returns our name of an official parameter, None where there is none."""
    return _translate(name, _TO_OURS, _MODALITIES)


def to_official(name: str) -> str | None:
    """Returns the official name of our parameter, None where there is none."""
    modalities = {ours: theirs for theirs, ours in _MODALITIES.items()}
    return _translate(name, _TO_OFFICIAL, modalities)


def from_official_adapter(name: str) -> str | None:
    """Returns our name of a parameter of ViT-Adapter's, without `backbone.`,
    None where there is none.
    """
    return _translate(name, _ADAPTER_TO_OURS, _MODALITIES)


def convert_official(
    state_dict: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], list[str]]:
    """Renames official weights to ours.

    Returns:
        The renamed weights, and the official names that are not in the table
        (heads).
    """
    converted, unknown = {}, []
    for name, value in state_dict.items():
        ours = from_official(name)
        if ours is None:
            unknown.append(name)
        else:
            converted[ours] = value
    return converted, unknown


def resize_patch_embedding(weight: Tensor, patch_size: int) -> Tensor:
    """Resizes patch kernels bicubically, in float32, as EVA does for dense
    tasks (baaivision/EVA, interpolate_patch_14to16.py).

    Args:
        weight: `(C, 3, p, p)`.
        patch_size: Side wanted.

    Returns:
        `(C, 3, patch_size, patch_size)` in the dtype of `weight`.
    """
    if weight.shape[-1] == patch_size:
        return weight
    resized = F.interpolate(
        weight.float(), patch_size, mode='bicubic', align_corners=False
    )
    return resized.to(weight.dtype)


def encoder_weights(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the encoder's weights by our names, from a released file or
    from a checkpoint of any model that holds an encoder.

    Raises:
        ValueError: If no encoder is found.
    """
    if any(name.startswith(OFFICIAL_PREFIX) for name in state_dict):
        return convert_official(state_dict)[0]
    anchor = 'vision_embedding.proj.weight'
    prefixes = [
        name.removesuffix(anchor)
        for name in state_dict
        if name.endswith(anchor)
    ]
    if len(prefixes) != 1:
        some = ', '.join(list(state_dict)[:3])
        raise ValueError(
            f'expected the weights of one BEiT-3 encoder (one name that ends '
            f'in {anchor!r}), found {len(prefixes)}; the names begin with '
            f'{some}'
        )
    return {
        name.removeprefix(prefixes[0]): value
        for name, value in state_dict.items()
        if name.startswith(prefixes[0])
    }


def load_vision_weights(model: nn.Module, path: str) -> None:
    """Loads the vision half of a checkpoint into a dense backbone.

    Positions and patch kernels are resized to the model's.

    Args:
        model: Has a `vision_embedding`, like `BEiT3ViT`.
        path: A released BEiT-3 file, or a checkpoint of ours.

    Raises:
        ValueError: If the file holds no encoder, or nothing of it fits.
    """
    file = load_file(path)
    weights = encoder_weights(file.get('model', file.get('state_dict', file)))
    embedding = model.vision_embedding
    for name in ('positions.weight', 'proj.weight'):
        if f'vision_embedding.{name}' not in weights:
            raise ValueError(
                f'{path} holds no vision encoder: it has no '
                f'vision_embedding.{name}, or what it is called officially'
            )
    positions = weights['vision_embedding.positions.weight']
    side = round((len(positions) - POSITION_OFFSET - 1) ** 0.5)
    weights['vision_embedding.positions.weight'] = resize_positions(
        positions, (side, side), embedding.table_grid
    )
    weights['vision_embedding.proj.weight'] = resize_patch_embedding(
        weights['vision_embedding.proj.weight'], embedding.patch_size
    )
    print_log(str(load_weights(model, weights, path)), logger='current')


def load_adapter_weights(model: nn.Module, path: str) -> None:
    """Loads the adapter part of an official ViT-Adapter checkpoint.

    The ViT's own weights in it belong to another model and are not loaded.

    Args:
        model: A `BEiT3Adapter`.
        path: A file of czczup/ViT-Adapter, of a backbone or of a segmentor.

    Raises:
        ValueError: If nothing of it fits.
    """
    file = load_file(path)
    weights = {}
    for name, value in file.get('state_dict', file).items():
        ours = from_official_adapter(name.removeprefix('backbone.'))
        if ours is not None:
            weights[ours] = value
    print_log(str(load_weights(model, weights, path)), logger='current')
