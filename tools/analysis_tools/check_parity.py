# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Compares golden files: `python tools/analysis_tools/check_parity.py *.npz`.

A golden file holds `config` (JSON, whose `kind` says what it is), inputs,
weights by their official names, and what the official implementation made of
them as `out/...`. For each of these the largest absolute difference is
printed. Exit codes: 0 all agree, 1 some differ, 2 some are not known here, or
a file cannot be read. A kind is one function, entered in `KINDS`.
"""

import argparse
import json
import math
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from beit3_mm.compat import require_hosts

try:
    require_hosts('mmengine', 'mmcv')
except ImportError as error:
    sys.exit(f'error: {error}')

import numpy as np
import torch
from torch import Tensor, nn

from beit3_mm.checkpoint import convert_official, from_official_adapter
from beit3_mm.engine import cli
from beit3_mm.engine.loading import load_weights
from beit3_mm.models.backbones.adapter_layers import (
    ConvFFN,
    DeformableCrossAttention,
    Extractor,
    Geometry,
    Injector,
    SpatialPriorModule,
    map_to_tokens,
)
from beit3_mm.models.backbones.beit3_adapter import InteractionBlock
from beit3_mm.models.beit3 import BEiT3
from beit3_mm.ops import batched_soft_nms

AGREE, DIFFER, UNKNOWN = 0, 1, 2  # exit codes
_BLOCK = 'interactions.0.'  # official name
ENCODER_KEYS = (
    'embed_dims',
    'num_layers',
    'num_heads',
    'feedforward_channels',
    'img_size',
    'patch_size',
    'vocab_size',
    'max_text_positions',
)


class GoldenFile(dict):
    """The arrays of a golden file as tensors, text as it is.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged or no golden file.
    """

    def __init__(self, path: str) -> None:
        if not Path(path).is_file():
            raise FileNotFoundError('there is no such file')
        if not zipfile.is_zipfile(path):
            raise ValueError('this is no .npz file, or a damaged one')
        self.path = path
        try:
            with np.load(path, allow_pickle=False) as file:
                super().__init__(
                    (name, _tensor_or_text(file[name])) for name in file.files
                )
        except Exception as error:  # whatever numpy makes of a damaged file
            raise ValueError(
                f'it is damaged or holds more than plain arrays: {error}'
            ) from error
        self.config = self.json('config')
        if not isinstance(self.config, dict) or 'kind' not in self.config:
            raise ValueError(f"config={self.config} has no 'kind'")
        if not self.part('out/'):
            raise ValueError('it holds no out/... to compare with')

    def __missing__(self, name: str) -> None:
        raise ValueError(f'it holds no {name!r}')

    def json(self, name: str) -> dict:
        """Returns what is stored under a name as JSON."""
        try:
            return json.loads(self[name])
        except (TypeError, json.JSONDecodeError) as error:
            raise ValueError(f'{name} is no JSON') from error

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Returns the tensors under a prefix, without it."""
        return {
            name.removeprefix(prefix): value
            for name, value in self.items()
            if name.startswith(prefix)
        }


def _tensor_or_text(array: np.ndarray) -> Tensor | str:
    if array.dtype.kind == 'U':
        return str(array)
    return torch.from_numpy(array)


def build_encoder(file: GoldenFile) -> BEiT3:
    """Builds the released form of a file's `config` with its weights.

    Raises:
        ValueError: If the file lacks a size or a weight of the encoder.
    """
    missing = [key for key in ENCODER_KEYS if key not in file.config]
    if missing:
        raise ValueError(f'config has no {missing}')
    model = BEiT3(**{key: file.config[key] for key in ENCODER_KEYS})
    weights, _ = convert_official(file.part('weights/'))
    report = load_weights(model, weights, file.path)
    if not report.complete or report.unexpected:
        raise ValueError(f'it does not fit the encoder: {report}')
    return model.eval()


def retrieval(file: GoldenFile) -> dict[str, Tensor]:
    """The encoder alone: an image, a text, both; patches masked or not."""
    model = build_encoder(file)
    image = {'image': file['image']}
    text = {
        'text_ids': file['text_ids'],
        'text_padding_mask': file['text_padding_mask'],
    }
    mask = {'image_mask': file['vision_masked_position']}
    inputs = {
        'image': image,
        'image_masked': image | mask,
        'text': text,
        'fused': image | text,
        'fused_masked': image | text | mask,
    }
    outputs = {}
    for name, arguments in inputs.items():
        output = model(**arguments)
        parts = [x for x in (output.vision, output.language) if x is not None]
        outputs[name] = torch.cat(parts, dim=1)
    return outputs


def mmcv_ops(file: GoldenFile) -> dict[str, Tensor]:
    """What stands in for mmcv's compiled operators, or these themselves."""
    from mmcv.ops import RoIAlign, batched_nms

    boxes = [file[name] for name in ('boxes', 'scores', 'labels')]
    outputs = {}
    for name in ('nms', 'soft_linear', 'soft_gaussian', 'soft_naive'):
        options = file.json(f'cfg/{name}')
        if options['type'] == 'soft_nms':
            options.pop('type')
            dets, keep = batched_soft_nms(*boxes, **options)
        else:
            dets, keep = batched_nms(*boxes, options)
        outputs |= {f'{name}/dets': dets, f'{name}/keep': keep}
    for ratio in (0, 2):
        feat = file['feat'].requires_grad_()
        with torch.enable_grad():
            out = RoIAlign((7, 7), 0.25, ratio)(feat, file['rois'])
        # The gradient that the reference was made with.
        upstream = torch.arange(784.0).view(4, 4, 7, 7) / 784
        (gradient,) = torch.autograd.grad(out, feat, upstream)
        outputs[f'roi_align_sr{ratio}'] = out.detach()
        outputs[f'roi_align_sr{ratio}_grad'] = gradient
    return outputs


def vit_adapter(file: GoldenFile) -> dict[str, Tensor]:
    """Spatial prior module and one interaction block around no ViT layer."""
    config, dims = file.config, file.config['embed_dims']

    def attention(num_levels: int) -> DeformableCrossAttention:
        return DeformableCrossAttention(
            dims,
            config['deform_num_heads'],
            num_levels,
            config['n_points'],
            config['deform_ratio'],
        )

    inner = int(dims * config['cffn_ratio'])
    extractors = [
        Extractor(attention(1), ConvFFN(dims, inner), 0.0) for _ in range(3)
    ]
    block = InteractionBlock(Injector(attention(3), dims, 0.0), extractors)
    model = nn.Module()
    model.spatial_prior = SpatialPriorModule(config['conv_inplane'], dims)
    model.interactions = nn.ModuleList([block])
    official = {
        f'{ours}{name}': value
        for part, ours in (('spm/', 'spm.'), ('interaction/', _BLOCK))
        for name, value in file.part(part).items()
    }
    weights = {from_official_adapter(k): v for k, v in official.items()}
    report = load_weights(model.eval(), weights, file.path)
    if not report.complete or report.unexpected:
        raise ValueError(f'it does not fit the adapter: {report}')

    prior = model.spatial_prior(file['image'])
    _, *grids = (tuple(x.shape[-2:]) for x in prior)
    c1, (c2, c3, c4) = prior[0], map(map_to_tokens, prior[1:])
    levels, tokens = torch.cat([c2, c3, c4], 1), file['tokens']
    device = tokens.device
    inject = Geometry.of(grids[1:2], grids, device)
    extract = Geometry.of(grids, grids[1:2], device)
    tokens = block.injector(tokens, levels, inject)
    for extractor in block.extractors:
        levels = extractor(levels, tokens, extract, grids)
    return {
        'c1': c1,
        **{'c2': c2, 'c3': c3, 'c4': c4},
        **{'tokens': tokens, 'c': levels, 'cls': file['cls']},
    }


@dataclass(frozen=True)
class Kind:
    """How files of a kind are checked.

    Args:
        outputs: Computes the `out/...` that are known, without the prefix.
        tolerance: Largest absolute difference; indices differ by 1 or more.
    """

    outputs: Callable[[GoldenFile], dict[str, Tensor]]
    tolerance: float = 1e-5


KINDS = {
    'retrieval': Kind(retrieval),
    'mmcv_ops': Kind(mmcv_ops),
    'vit_adapter': Kind(vit_adapter),
}


def largest_difference(ours: Tensor, expected: Tensor) -> float:
    """Returns the largest absolute difference, nan included; inf if the
    shapes differ.
    """
    if ours.shape != expected.shape:
        return math.inf
    difference = (ours.double() - expected.double()).abs()
    return float(difference.max()) if difference.numel() else 0.0


@torch.no_grad()
def check(path: str) -> int:
    """Prints how the outputs of a file compare and returns the exit code.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or lacks something that its kind needs.
    """
    file = GoldenFile(path)
    name = file.config['kind']
    kind = KINDS.get(name)
    print(f'{path} ({name})')
    if kind is None:
        print(f'  kind {name!r} is unknown; known are {sorted(KINDS)}')
    ours = kind.outputs(file) if kind else {}
    codes = {AGREE}
    for output, expected in file.part('out/').items():
        if output not in ours:
            print(f'  unknown  {"":7}  {output}')
            codes.add(UNKNOWN)
            continue
        difference = largest_difference(ours[output], expected)
        agrees = difference <= kind.tolerance  # False for nan
        codes.add(AGREE if agrees else DIFFER)
        verdict = 'agrees ' if agrees else 'DIFFERS'
        print(f'  {verdict}  {difference:7.1e}  {output}')
    return worst(codes)


def worst(codes: set[int]) -> int:
    """Returns the exit code that stands for all: a difference comes first."""
    return DIFFER if DIFFER in codes else max(codes)


def main() -> None:
    """Checks all files; one that cannot be read does not hide the others."""
    parser = argparse.ArgumentParser(
        description='Compare this implementation with golden files.',
        epilog='exit codes: 0 all agree, 1 some differ, 2 some outputs or '
        'kinds are unknown, or a file cannot be read',
    )
    parser.add_argument('files', nargs='+', metavar='FILE.npz')
    codes = set()
    for path in parser.parse_args().files:
        try:
            codes.add(check(path))
        except Exception as error:  # 1 must mean that something differs
            print(f'error: {path}: {cli.message(error)}', file=sys.stderr)
            codes.add(UNKNOWN)
    sys.exit(worst(codes))


if __name__ == '__main__':
    main()
