# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Draws guesses of pretraining: `masked_pictures.py CONFIG CHECKPOINT ...`.

Samples come from the config's training data, masked as in training. Each
picture has the image, what the model sees of it, the codes that it guesses
and the true ones, and the masked words of its text.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from beit3_mm.compat import require_hosts

try:
    require_hosts('mmengine', 'mmcv')
except ImportError as error:
    sys.exit(f'error: {error}')

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.utils import ProgressBar
from PIL import Image
from torch import Tensor

from beit3_mm.apis.model import init_model
from beit3_mm.apis.reconstructions import (
    MeanPatches,
    draw_masked_sample,
    draw_patches,
    text_rows,
)
from beit3_mm.engine import cli
from beit3_mm.models.pretraining import MaskedDataModeling
from beit3_mm.tokenizer import Tokenizer, load_tokenizer


def parse_args() -> argparse.Namespace:
    """Returns the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description='Draw masked images and texts with the guesses of a '
        'pretrained model.'
    )
    parser.add_argument('config', help='config file of a pretraining')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--out-dir',
        type=Path,
        default=Path('work_dirs/masked_pictures'),
        help='folder of the pictures (%(default)s)',
    )
    parser.add_argument(
        '--num', type=int, default=8, help='samples of a kind (%(default)s)'
    )
    parser.add_argument(
        '--mean-of',
        type=int,
        default=32,
        metavar='BATCHES',
        help='batches whose patches are averaged as pictures of the codes '
        '(%(default)s)',
    )
    parser.add_argument('--device', help='cpu or cuda (cuda where there is)')
    cli.add_model_arguments(parser)
    return parser.parse_args()


def batches(cfg: Config, model: MaskedDataModeling) -> Iterator[dict]:
    """Yields batches of the training data as the model gets them."""
    loader = cfg.train_dataloader.to_dict()
    loader.pop('prefetch_factor', None)
    loader |= {'num_workers': 0, 'persistent_workers': False}
    with DefaultScope.overwrite_default_scope('mmengine'):
        for batch in Runner.build_dataloader(loader, seed=0):
            yield model.data_preprocessor(batch)


def images_of(
    model: MaskedDataModeling, inputs: dict
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yields kind, images from 0 to 255 and visual tokens of a batch."""
    normalise = model.data_preprocessor.multimodal
    for kind in ('image', 'pair'):
        if kind in inputs:
            image = inputs[kind]['image']
            mean, std = (
                image.new_tensor(x).view(3, 1, 1)
                for x in (normalise.mean, normalise.std)
            )
            ids = model.visual_ids(kind, inputs[kind])
            inputs[kind]['visual_ids'] = ids  # found once
            yield kind, (image * std + mean).cpu(), ids.cpu()


def average(
    model: MaskedDataModeling, stream: Iterator[dict], number: int
) -> tuple[MeanPatches, dict[str, float]]:
    """Returns the mean patches of codes over some batches, and what always
    guessing the most frequent code or word scores there, by the names of the
    accuracies that training logs.
    """
    means = MeanPatches(
        model.head.visual.out_features,
        model.backbone.vision_embedding.patch_size,
    )
    targets: dict[str, Counter[int]] = defaultdict(Counter)
    progress = ProgressBar(number, file=sys.stderr)
    for batch in islice(stream, number):
        for _, images, ids in images_of(model, batch['inputs']):
            for image, row in zip(images, ids):
                means.add(image, row)
        for part, ids in model.target_ids(batch['inputs']).items():
            targets[f'acc_{part}'].update(ids.tolist())
        progress.update()
    print(file=sys.stderr)
    return means, {
        name: counts.most_common(1)[0][1] / counts.total()
        for name, counts in targets.items()
        if counts
    }


def draw(
    model: MaskedDataModeling,
    batch: dict,
    means: MeanPatches,
    tokenizer: Tokenizer | None,
) -> Iterator[tuple[str, Image.Image]]:
    """Yields kind and picture of each sample of a batch."""
    inputs = batch['inputs']
    model(inputs, batch['data_samples'], mode='predict')
    images = {kind: rest for kind, *rest in images_of(model, inputs)}
    for kind, x in inputs.items():
        for i, sample in enumerate(batch['data_samples'][kind]):
            picture, rows = None, []
            if 'pred_visual_ids' in sample:
                pixels, ids = images[kind]
                picture = draw_patches(
                    pixels[i],
                    x['image_mask'][i].cpu(),
                    ids[i],
                    sample.pred_visual_ids.cpu(),
                    means,
                )
            if 'pred_text_ids' in sample and tokenizer is not None:
                padding = x.get('text_padding_mask')
                length = x['text_ids'].shape[1]
                if padding is not None:
                    length -= int(padding[i].sum())
                texts = [
                    x[name][i].cpu()
                    for name in ('text_ids', 'target_ids', 'text_mask')
                ]
                texts.append(sample.pred_text_ids.cpu())
                rows = text_rows(*[t[:length] for t in texts], tokenizer)
            yield kind, draw_masked_sample(picture, rows)


def find_tokenizer(cfg: Config) -> Tokenizer | None:
    """Returns the tokenizer that the training data names, if it names one."""
    for part in cli.dicts(cfg.train_dataloader.to_dict()):
        if part.get('model_file'):
            return load_tokenizer(part['model_file'])
    return None


@torch.no_grad()
def run(args: argparse.Namespace) -> None:
    """Draws pictures and says where they are."""
    if min(args.num, args.mean_of) < 1:
        raise ValueError(
            f'--num {args.num} and --mean-of {args.mean_of} must be at least 1'
        )
    cfg = cli.read_config(args.config, args.cfg_options)
    kind = cfg.get('model', {}).get('type')
    if kind != 'beit3_mm.MaskedDataModeling':
        raise ValueError(
            f'{args.config}: model.type={kind!r} must be '
            'beit3_mm.MaskedDataModeling'
        )
    cli.check_checkpoint(args.checkpoint)
    model = init_model(
        cfg,
        args.checkpoint,
        args.device,
        trust_checkpoint=args.trust_checkpoint,
    )
    stream, tokenizer = batches(cfg, model), find_tokenizer(cfg)
    args.out_dir.mkdir(parents=True, exist_ok=True)
    means, shares = average(model, stream, args.mean_of)
    file = args.out_dir / 'most_frequent.json'
    file.write_text(json.dumps(shares), encoding='utf-8')
    drawn: dict[str, int] = {}
    while not drawn or min(drawn.values()) < args.num:
        for kind, picture in draw(model, next(stream), means, tokenizer):
            number = drawn.setdefault(kind, 0)
            if number < args.num:
                picture.save(args.out_dir / f'{kind}_{number}.png')
                drawn[kind] += 1
    print('always guessing the most frequent code or word:')
    for name, share in shares.items():
        print(f'  {name} {share:.3f}')
    print(f'these shares: {file}\npictures: {args.out_dir}')


def main() -> None:
    """Draws; wrong input ends with one message."""
    args = parse_args()
    with cli.plain_errors(args.debug, Exception):
        run(args)


if __name__ == '__main__':
    main()
