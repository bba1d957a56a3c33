# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Finds visual tokens: `visual_tokens.py CONFIG CHECKPOINT --out FOLDER`.

Of every image of a data set, squeezed into a square, the ids that
`beit3_mm.LoadVisualTokens` reads: a training then needs no visual tokenizer.
A run that was killed goes on where it stopped.
"""

import argparse
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, TRANSFORMS, DefaultScope
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from beit3_mm.datasets.visual_tokens import (
    NONE,
    VisualTokensWriter,
    name_hash,
)
from beit3_mm.engine import cli
from beit3_mm.engine.loading import use_safe_loading

SECONDS = 10  # between two messages, which are also when progress is kept
TOKENIZER = 'beit3_mm.VQKD'


class Images(Dataset):
    """The images of a data set as the tokenizer sees them.

    Args:
        dataset: Any data set with `get_data_info(index)`.
        load: Transform that reads `img` (H, W, 3), uint8 BGR.
        img_size: Side of the square in pixels.
    """

    def __init__(self, dataset: Dataset, load: Any, img_size: int) -> None:
        self.dataset = dataset
        self.load = load
        self.img_size = img_size
        # Captions of one image follow each other: it is read once.
        self._last: tuple[str, Tensor | str] = ('', '')

    def __len__(self) -> int:
        """Returns the number of samples."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[np.uint64, Tensor | str]:
        """Returns the hash of a name, and an image uint8 (3, S, S), RGB, or
        what is wrong with it.
        """
        info = self.dataset.get_data_info(index)
        path = info['img_path']  # before the transform has its way
        # What is wrong with a sample is its own, and so are bytes.
        if {'rejected', 'img_bytes'} & set(info):
            return name_hash(path), self._read(info, path)
        if path != self._last[0]:
            self._last = path, self._read(info, path)
        return name_hash(path), self._last[1]

    def _read(self, info: dict, path: str) -> Tensor | str:
        try:
            results = None if 'rejected' in info else self.load(info)
        except (OSError, ValueError) as error:
            return str(error)
        if results is None:
            return f'{path}: {info.get("rejected", "rejected")}'
        img = mmcv.imresize(
            results['img'],
            (self.img_size, self.img_size),
            interpolation='bicubic',
            backend='pillow',
        )
        img = np.ascontiguousarray(img[..., ::-1].transpose(2, 0, 1))
        return torch.from_numpy(img)


def parse_args() -> argparse.Namespace:
    """Returns the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description='Find the visual tokens of a data set.'
    )
    parser.add_argument('config', help='config with a beit3_mm.VQKD')
    parser.add_argument('checkpoint', help='its weights, official or ours')
    parser.add_argument(
        '--out', type=Path, required=True, help='folder to write'
    )
    parser.add_argument(
        '--data', help='config with the data set, if it is another one'
    )
    parser.add_argument(
        '--dataset',
        default='train_dataloader.dataset',
        help='where the data set stands in it, such as '
        'train_dataloader.dataset.dataset.datasets.image (%(default)s)',
    )
    parser.add_argument(
        '--size',
        type=int,
        help='side of the image in pixels; for a student with patches of 14 '
        "pixels at 224 it is 256 (the tokenizer's img_size)",
    )
    parser.add_argument('--device', help='cpu or cuda (cuda where there is)')
    parser.add_argument('--batch-size', type=int, default=64, help='(64)')
    parser.add_argument(
        '--num-workers', type=int, default=2, help='that read images (2)'
    )
    cli.add_model_arguments(parser)
    return parser.parse_args()


def build_tokenizer(args: argparse.Namespace, config: Config) -> nn.Module:
    """Returns the tokenizer of a config, loaded."""
    found = [x for x in cli.dicts(config.model) if x.get('type') == TOKENIZER]
    if len(found) != 1:
        raise ValueError(
            f'{args.config} must hold one model of type {TOKENIZER}, but '
            f'holds {len(found)}'
        )
    init_cfg = dict(type='Pretrained', checkpoint=args.checkpoint)
    model = MODELS.build(dict(found[0], init_cfg=init_cfg))
    model.init_weights()
    return model.eval()


def build_images(
    args: argparse.Namespace, config: Config, img_size: int
) -> Images:
    """Returns the images of the data set that the arguments name."""
    if args.data:
        config = cli.read_config(args.data, {})
    node: Any = config
    for key in args.dataset.split('.'):
        is_list = isinstance(node, list | tuple)
        try:
            node = node[int(key) if is_list else key]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise ValueError(
                f'--dataset {args.dataset}: there is no {key!r} in the config'
            ) from error
    if isinstance(node, list | tuple):
        raise ValueError(
            f'--dataset {args.dataset} is a list of {len(node)}: name one, '
            f'such as {args.dataset}.0'
        )
    while node.get('type') == 'beit3_mm.SeededDataset':
        node = node['dataset']
    if not node.get('pipeline'):
        raise ValueError(
            f'--dataset {args.dataset} is a {node.get("type")} without a '
            'pipeline: name a data set inside of it'
        )
    with DefaultScope.overwrite_default_scope('mmengine'):
        load = dict(node['pipeline'][0])
        load.pop('skip_damaged', None)  # damaged ones are counted here
        dataset = DATASETS.build(node)
        if 'img_path' not in dataset.get_data_info(0):
            raise ValueError(
                f'--dataset {args.dataset} is a {node.type} without images'
            )
        return Images(dataset, TRANSFORMS.build(load), img_size)


def fingerprint(codes: Tensor) -> str:
    """Returns what tells a codebook from others."""
    return hashlib.sha256(codes.cpu().numpy().tobytes()).hexdigest()[:16]


def check_resume(output: VisualTokensWriter, images: Images) -> None:
    """Raises a ValueError if earlier rows are of other data."""
    last = output.done - 1
    if last >= 0 and output.names[last] != images[last][0]:
        raise ValueError(
            f'--out {output.folder} holds tokens of other data: choose '
            'another folder'
        )


def batches(
    images: Images, first: int, args: argparse.Namespace
) -> Iterator[list]:
    """Yields lists of what `images` gives, from a sample on."""
    yield from DataLoader(
        images,
        args.batch_size,
        sampler=range(first, len(images)),
        num_workers=args.num_workers,
        collate_fn=list,
    )


def find_ids(model: nn.Module, samples: list, number: int) -> np.ndarray:
    """Returns ids (samples, number), uint16; NONE of damaged images."""
    ids = np.full((len(samples), number), NONE, np.uint16)
    whole = [i for i, (_, x) in enumerate(samples) if isinstance(x, Tensor)]
    # An image of several captions, one object, goes through the model once.
    images = {id(samples[i][1]): samples[i][1] for i in whole}
    if images:
        image = torch.stack(list(images.values()))
        device = model.encoder.proj.weight.device
        found = model.encode_ids(image.to(device).float() / 255)
        numbers = {key: number for number, key in enumerate(images)}
        rows = [numbers[id(samples[i][1])] for i in whole]
        ids[whole] = found[rows].cpu().numpy().astype(np.uint16)
    return ids


def write(
    output: VisualTokensWriter, model: nn.Module, samples: Iterator[list]
) -> None:
    """Finds and writes all tokens, and says how long it takes."""
    start = shown = time.monotonic()
    first, total = output.done, output.about['samples']
    for batch in samples:
        ids = find_ids(model, batch, output.ids.shape[1])
        damaged = [x for _, x in batch if isinstance(x, str)]
        output.add([name for name, _ in batch], ids, damaged)
        now = time.monotonic()
        if now - shown > SECONDS or output.done == total:
            shown = now
            output.keep()
            speed = (output.done - first) / max(now - start, 1e-6)
            left = int((total - output.done) / speed)
            print(
                f'images: {output.done:,} of {total:,} '
                f'({100 * output.done // total}%), {speed:.0f} a second, '
                f'{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left',
                flush=True,
            )


def main() -> None:
    """Writes the tokens; wrong input ends with one message."""
    args = parse_args()
    with cli.plain_errors(args.debug, Exception):
        use_safe_loading(args.trust_checkpoint)
        cli.check_checkpoint(args.checkpoint)
        config = cli.read_config(args.config, args.cfg_options)
        model = build_tokenizer(args, config)
        patch_size = model.encoder.patch_size
        img_size = args.size or patch_size * model.encoder.table_side
        num_codes = len(model.quantizer.codes)
        if img_size < 1 or img_size % patch_size or num_codes > NONE:
            raise ValueError(
                f'--size {img_size} must divide into patches of {patch_size} '
                f'pixels, and {num_codes} codes be at most {NONE}'
            )
        images = build_images(args, config, img_size)
        side = img_size // patch_size
        output = VisualTokensWriter(
            args.out,
            dict(
                samples=len(images),
                height=side,
                width=side,
                num_codes=num_codes,
                codebook=fingerprint(model.quantizer.codes),
            ),
        )
        check_resume(output, images)
    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    with cli.plain_errors(args.debug, *cli.INPUT_ERRORS):
        write(output, model.to(device), batches(images, output.done, args))
    print(output.summary())


if __name__ == '__main__':
    main()
