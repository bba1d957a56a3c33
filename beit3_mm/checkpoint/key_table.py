# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Names of official weights and ours: one table that is read both ways.

The official names are those of `microsoft/unilm`, folder beit3, whatever the
file: pretraining, contrastive, or one of the fine-tuned tasks. Ours are those
of the models: the encoder is `backbone`, what stands on it `head`.
"""

import itertools
import re
from collections.abc import Iterable, Mapping

FIELDS = {
    **dict.fromkeys(('layer', 'number', 'block'), r'\d+'),
    'leaf': 'weight|bias|running_mean|running_var|num_batches_tracked',
    'part': (
        r'query_norm|feat_norm|attn\.(?:sampling_offsets|'
        r'attention_weights|value_proj|output_proj)'
    ),
}


class KeyTable:
    """Pairs of names that may hold fields, such as `layers.{layer}`.

    Args:
        pairs: Ours to official; both sides have the same fields, of `FIELDS`.
    """

    def __init__(self, pairs: Mapping[str, str]) -> None:
        self.pairs = dict(pairs)
        self._rules = [(_pattern(a), b) for a, b in self.pairs.items()]
        self._reverse = [(_pattern(b), a) for a, b in self.pairs.items()]

    def to_official(self, name: str) -> str | None:
        """Returns the official name of our weight, None without one."""
        return _translate(name, self._rules)

    def to_ours(self, name: str) -> str | None:
        """Returns our name of an official weight, None without one."""
        return _translate(name, self._reverse)

    def expand(self, **values: Iterable) -> dict[str, str]:
        """Returns all pairs, fields filled in with each of their values."""
        expanded = {}
        for ours, official in self.pairs.items():
            fields = re.findall(r'{(\w+)}', ours)
            for chosen in itertools.product(*[values[f] for f in fields]):
                filled = dict(zip(fields, chosen))
                expanded[ours.format(**filled)] = official.format(**filled)
        return expanded


def _pattern(template: str) -> re.Pattern:
    escaped = re.escape(template).replace(r'\{', '{').replace(r'\}', '}')
    groups = {name: f'(?P<{name}>{x})' for name, x in FIELDS.items()}
    return re.compile(escaped.format(**groups))


def _translate(name: str, rules: list[tuple[re.Pattern, str]]) -> str | None:
    for pattern, target in rules:
        if match := pattern.fullmatch(name):
            return target.format(**match.groupdict())
    return None


EXPERTS = {'vision': 'A', 'language': 'B'}  # ours: official
_LAYER = 'encoder.layers.{layer}.'
FINAL_NORM = {
    f'encoder.norm.{ours}.{{leaf}}': f'encoder.layer_norm.{theirs}.{{leaf}}'
    for ours, theirs in EXPERTS.items()
}
_ENCODER = {
    'vision_embedding.proj.{leaf}': 'vision_embed.proj.{leaf}',
    'vision_embedding.cls_token': 'vision_embed.cls_token',
    'vision_embedding.mask_token': 'vision_embed.mask_token',
    'vision_embedding.positions.weight': 'encoder.embed_positions.A.weight',
    'text_embedding.words.weight': 'text_embed.weight',
    'text_embedding.positions.weight': 'encoder.embed_positions.B.weight',
    **{
        f'{_LAYER}{ours}.{{leaf}}': f'{_LAYER}{official}.{{leaf}}'
        for x, y in EXPERTS.items()
        for ours, official in {
            f'attention_norm.{x}': f'self_attn_layer_norm.{y}',
            f'attention.q_proj.{x}': f'self_attn.q_proj.{y}',
            f'attention.k_proj.{x}': f'self_attn.k_proj.{y}',
            f'attention.v_proj.{x}': f'self_attn.v_proj.{y}',
            f'attention.sub_norm.{x}': f'self_attn.inner_attn_ln.{y}',
            f'attention.out_proj.{x}': f'self_attn.out_proj.{y}',
            f'ffn.{x}.norm': f'final_layer_norm.{y}',
            f'ffn.{x}.fc1': f'ffn.{y}.fc1',
            f'ffn.{x}.sub_norm': f'ffn.{y}.ffn_layernorm',
            f'ffn.{x}.fc2': f'ffn.{y}.fc2',
        }.items()
    },
    **FINAL_NORM,
}
BACKBONE, OFFICIAL_PREFIX = 'backbone.', 'beit3.'
ENCODER = {
    BACKBONE + ours: OFFICIAL_PREFIX + official
    for ours, official in _ENCODER.items()
}
_LM_HEAD = {'head.lm.{leaf}': 'mlm_head.{leaf}'}
HEADS = {  # task: ours: official
    'retrieval': {
        'head.vision_proj.weight': 'vision_head.weight',
        'head.language_proj.weight': 'language_head.weight',
        'head.logit_scale': 'logit_scale',
    },
    'vqa': {
        'head.pooler.norm.{leaf}': 'pooler.norm.{leaf}',
        'head.pooler.dense.{leaf}': 'pooler.dense.{leaf}',
        **{
            f'head.classifier.{i}.{{leaf}}': f'head.{i}.{{leaf}}'
            for i in (0, 1, 3)
        },
    },
    'nlvr2': {
        f'head.{part}.{{leaf}}': f'head.{part}.{{leaf}}'
        for part in ('norm1', 'dense1', 'norm2', 'dense2')
    },
    'captioning': _LM_HEAD,
    'classification': {
        'head.norm.{leaf}': 'fc_norm.{leaf}',
        'head.fc.{leaf}': 'head.{leaf}',
    },
    # Of the official visual head only its 8192 rows are certain; `mim_head`
    # is [unverified].
    'pretraining': {
        **_LM_HEAD,
        'head.visual.{leaf}': 'mim_head.{leaf}',
    },
}
TASKS = tuple(HEADS)
WITHOUT_FINAL_NORM = ('vqa', 'classification')
OFFICIAL = KeyTable(
    ENCODER | {k: v for head in HEADS.values() for k, v in head.items()}
)


def key_table(num_layers: int, task: str | None = None) -> dict[str, str]:
    """Returns all names of an official model: ours, then the official ones.

    Args:
        num_layers: Layers of the encoder.
        task: One of `TASKS`; None has no head.
    """
    pairs = ENCODER | HEADS.get(task, {})
    if task in WITHOUT_FINAL_NORM:
        pairs = {
            ours: official
            for ours, official in pairs.items()
            if ours.removeprefix(BACKBONE) not in FINAL_NORM
        }
    return KeyTable(pairs).expand(
        layer=range(num_layers), leaf=('weight', 'bias')
    )


# The adapter of czczup/ViT-Adapter, segmentation/mmseg_custom/models/backbones
VIT_ADAPTER = KeyTable(
    {
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
)

# The tokenizer of BEiT v2 (unilm/beit2, modeling_vqkd.py). What the official
# files hold of the codebook besides is of no use (`embed_avg` and
# `embedding.cluster_size`: norm_ema_quantizer.py never reads them).
_VIT = {
    'proj.{leaf}': 'patch_embed.proj.{leaf}',
    'cls_token': 'cls_token',
    'positions': 'pos_embed',
    'norm.{leaf}': 'fc_norm.{leaf}',
    **{
        f'layers.{{layer}}.{ours}': f'blocks.{{layer}}.{official}'
        for ours, official in {
            'attention_norm.{leaf}': 'norm1.{leaf}',
            'attention.qkv_proj.weight': 'attn.qkv.weight',
            'attention.q_bias': 'attn.q_bias',
            'attention.v_bias': 'attn.v_bias',
            'attention.out_proj.{leaf}': 'attn.proj.{leaf}',
            'ffn.norm.{leaf}': 'norm2.{leaf}',
            'ffn.fc1.{leaf}': 'mlp.fc1.{leaf}',
            'ffn.fc2.{leaf}': 'mlp.fc2.{leaf}',
        }.items()
    },
}
VQKD = KeyTable(
    {
        **{
            f'{part}.{ours}': f'{part}.{official}'
            for part in ('encoder', 'decoder')
            for ours, official in _VIT.items()
        },
        'to_code.{number}.{leaf}': 'encode_task_layer.{number}.{leaf}',
        'to_teacher.{number}.{leaf}': 'decode_task_layer.{number}.{leaf}',
        'quantizer.codes': 'quantize.embedding.weight',
        'quantizer.cluster_size': 'quantize.cluster_size',
        'quantizer.started': 'quantize.embedding.initted',
    }
)
