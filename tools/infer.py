# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Asks a model: `python tools/infer.py CONFIG CHECKPOINT IMAGE... ...`."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from beit3_mm.compat import require_hosts

try:
    require_hosts('mmengine', 'mmcv')
except ImportError as error:
    sys.exit(f'error: {error}')

import numpy as np
from PIL import Image

from beit3_mm.apis import (
    Inferencer,
    draw,
    draw_detections,
    save_embeddings,
)
from beit3_mm.apis.drawing import MIN_SCORE
from beit3_mm.apis.embeddings import check_npz
from beit3_mm.apis.images import as_inputs
from beit3_mm.apis.predictions import Detections, LabelMap, Prediction
from beit3_mm.engine import cli


def parse_args() -> argparse.Namespace:
    """Returns the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description='Predict for images, texts, or images with texts: '
        'objects, classes of pixels, answers, captions, true or false, '
        'rankings, or classes, whichever the model is for.'
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        'images',
        nargs='*',
        metavar='IMAGE',
        help='image files; NLVR2 takes them two by two',
    )
    parser.add_argument(
        '--text',
        nargs='+',
        default=[],
        help='questions (VQA), statements (NLVR2) or texts to rank '
        '(retrieval): one for all images, all for one, or one for each',
    )
    parser.add_argument(
        '--out-dir',
        help='folder for a picture of each prediction and results.json',
    )
    parser.add_argument(
        '--embeddings',
        metavar='FILE.npz',
        help='file for embeddings and similarities',
    )
    parser.add_argument('--device', help='cpu or cuda (cuda where there is)')
    parser.add_argument(
        '--batch-size', type=int, default=1, help='samples at once (1)'
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        default=MIN_SCORE,
        help=f'score of an object that is drawn ({MIN_SCORE})',
    )
    cli.add_model_arguments(parser)
    return parser.parse_args()


def build_inferencer(args: argparse.Namespace) -> Inferencer:
    """Builds everything that is needed, so that it fails early.

    Raises:
        ValueError: If `--embeddings` cannot be.
    """
    as_inputs(args.images)  # a missing one is told before the model is built
    inferencer = Inferencer(
        args.config,
        args.checkpoint,
        args.device,
        args.cfg_options,
        args.trust_checkpoint,
    )
    if args.embeddings:
        check_npz(args.embeddings)
        if not inferencer.task.gives_embeddings:
            raise ValueError(
                f'--embeddings: {type(inferencer.model).__name__} gives none; '
                'models for retrieval, VQA, NLVR2 and classification do'
            )
    return inferencer


def write_pictures(
    prediction: Prediction, path: Path, min_score: float
) -> dict[str, Any]:
    """Writes a picture, and of a segmentation a map of class numbers.

    Args:
        prediction: What is drawn.
        path: The picture.
        min_score: Of objects that are drawn.

    Returns:
        What `results.json` says of it.
    """
    files = {'picture': path.name}
    if isinstance(prediction, Detections):
        draw_detections(prediction, min_score).save(path)
    else:
        draw(prediction).save(path)
    if isinstance(prediction, LabelMap):
        files['labels'] = f'{path.stem}_labels.png'
        many = prediction.labels.max() > np.iinfo(np.uint8).max
        labels = prediction.labels.astype(np.uint16 if many else np.uint8)
        Image.fromarray(labels).save(path.with_name(files['labels']))
    return prediction.to_dict() | files


def run(inferencer: Inferencer, args: argparse.Namespace) -> None:
    """Predicts, prints each prediction and writes what was asked for."""
    folder = Path(args.out_dir) if args.out_dir else None
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    results, embedded = [], []
    predictions = inferencer.predict(args.images, args.text, args.batch_size)
    for number, prediction in enumerate(predictions):
        print(prediction.summary(), flush=True)
        if folder:
            path = folder / f'{number:03d}_{prediction.name}.png'
            results.append(write_pictures(prediction, path, args.score_thr))
        if args.embeddings:
            embedded.append(prediction)
    if folder:
        path = folder / 'results.json'
        text = json.dumps(results, indent=1, ensure_ascii=False)
        path.write_text(text, encoding='utf-8')
        print(f'\npictures: {folder}\nresults: {path}')
    if args.embeddings:
        save_embeddings(args.embeddings, embedded)
        print(f'embeddings: {args.embeddings}')


def main() -> None:
    """Predicts; wrong input ends with one message."""
    args = parse_args()
    with cli.plain_errors(args.debug, Exception):
        inferencer = build_inferencer(args)
    with cli.plain_errors(args.debug, TypeError, *cli.INPUT_ERRORS):
        run(inferencer, args)


if __name__ == '__main__':
    main()
