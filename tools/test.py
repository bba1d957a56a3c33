# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Tests a model: `python tools/test.py CONFIG CHECKPOINT [--tta] ...`."""

import argparse
import sys
import time
from pathlib import Path

from beit3_mm.compat import require_hosts

try:
    require_hosts('mmengine', 'mmcv')
except ImportError as error:
    sys.exit(f'error: {error}')

from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from mmengine.runner import Runner
from torch.utils.data import Dataset

from beit3_mm.engine import cli
from beit3_mm.engine.loading import use_safe_loading
from beit3_mm.engine.vocabulary_check import check_vocabularies

# Metric -> the option that makes it write, and where to by default.
RESULTS = {
    'CocoMetric': ('outfile_prefix', 'results.json'),
    'IoUMetric': ('output_dir', 'results'),
    'VQAScore': ('outfile_prefix', 'results.json'),
    'NLVR2Accuracy': ('outfile_prefix', 'results.json'),
    'CaptionMetric': ('outfile_prefix', 'results.json'),
}


def parse_args() -> argparse.Namespace:
    """Returns the arguments of the command line."""
    parser = argparse.ArgumentParser(description='Test a model.')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--tta',
        action='store_true',
        help='test-time augmentation by tta_model and tta_pipeline of the '
        'config',
    )
    parser.add_argument(
        '--out',
        metavar='PATH',
        help="write the predictions: FILE.json, in the test server's format, "
        'to FILE.bbox.json and, of masks, FILE.segm.json, FILE.vqa.json, '
        'FILE.caption.json, or FILE.nlvr2.csv and FILE.nlvr2.json; of a '
        'segmentation, to a folder of images of class numbers',
    )
    parser.add_argument(
        '--format-only',
        action='store_true',
        help='write the predictions without evaluating them, for a test '
        'server; by default to results.json or results/ in the work dir',
    )
    parser.add_argument(
        '--show-dir',
        help='folder for pictures of the predictions beside the ground truth',
    )
    cli.add_arguments(parser)
    return parser.parse_args()


def write_results(cfg: Config, out: str | None, format_only: bool) -> None:
    """Makes the metric of the host write its predictions.

    Raises:
        ValueError: If the path or the metric is of another kind.
    """
    metrics = cfg.test_evaluator
    metrics = [metrics] if isinstance(metrics, dict) else metrics
    kinds = [metric.type for metric in metrics]
    if len(kinds) != 1 or kinds[0].split('.')[-1] not in RESULTS:
        raise ValueError(
            f'--out and --format-only need one of {list(RESULTS)} in '
            f'test_evaluator, which has {kinds}'
        )
    option, default = RESULTS[kinds[0].split('.')[-1]]
    path = Path(out or Path(cfg.work_dir, default)).absolute()
    suffix = Path(default).suffix
    if path.suffix != suffix:
        wanted = f'end in {suffix}' if suffix else 'be a folder'
        raise ValueError(f'--out {out} must {wanted}')
    metrics[0][option] = str(path.with_suffix(''))
    if format_only:
        metrics[0].format_only = True
        # a test server's images have no masks
        prefix = inner_dataset(cfg).get('data_prefix') or {}
        prefix.pop('seg_map_path', None)


def show_predictions(cfg: Config, folder: str) -> None:
    """Makes the visualization hook draw every image into a folder.

    Raises:
        ValueError: If the config has no visualization hook.
    """
    hook = cfg.default_hooks.get('visualization')
    if hook is None:
        raise ValueError(
            '--show-dir needs default_hooks.visualization in the config, such '
            "as dict(type='mmdet.DetVisualizationHook')"
        )
    hook.draw = True
    if hook.type.split('.')[-1] == 'SegVisualizationHook':
        cfg.visualizer.save_dir = str(Path(folder).absolute())
    else:
        hook.test_out_dir = str(Path(folder).absolute())


def inner_dataset(cfg: Config) -> ConfigDict:
    """Returns the test data set's config, without its wrappers."""
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    return dataset


def check_names(dataset: Dataset) -> None:
    """Sees to it that no map of classes takes the place of another.

    mmseg's `IoUMetric` names files after images, without their folders.

    Raises:
        ValueError: If two images have one name.
    """
    paths: dict[str, str] = {}
    for i in range(len(dataset)):
        path = dataset.get_data_info(i)['img_path']
        name = f'{Path(path).stem}.png'
        if paths.setdefault(name, path) != path:
            raise ValueError(
                f'--out: {paths[name]} and {path} would both be {name}: test '
                'folder by folder, by test_dataloader.dataset.data_prefix'
            )


def use_tta(cfg: Config) -> None:
    """Wraps the model and changes the test data for test-time augmentation.

    Raises:
        ValueError: If the config does not describe it.
    """
    for key in ('tta_model', 'tta_pipeline'):
        if key not in cfg:
            raise ValueError(f'--tta: the config has no {key}')
    inner_dataset(cfg).pipeline = cfg.tta_pipeline
    cfg.model = dict(**cfg.tta_model, module=cfg.model)


def build_runner(args: argparse.Namespace) -> Runner:
    """Builds everything that testing needs, so that it fails early."""
    use_safe_loading(args.trust_checkpoint)
    cfg = cli.load_config(args)
    for key in ('test_cfg', 'test_dataloader', 'test_evaluator'):
        if cfg.get(key) is None:
            raise ValueError(f'{args.config} has no {key}')
    cli.check_checkpoint(args.checkpoint)
    cfg.load_from, cfg.resume = args.checkpoint, False
    cli.add_checkpoint_hooks(cfg, strict=True)
    if args.out or args.format_only:
        write_results(cfg, args.out, args.format_only)
    if args.show_dir:
        show_predictions(cfg, args.show_dir)
    if args.tta:
        use_tta(cfg)
    runner = Runner.from_cfg(cfg)
    stages = ('test_dataloader', 'test_evaluator', 'model')
    check_vocabularies(runner.model, *map(cfg.get, stages))
    metrics = cli.build_loop(runner, 'test').evaluator.metrics
    if any(getattr(metric, 'output_dir', None) for metric in metrics):
        check_names(runner.test_dataloader.dataset)
    return runner


def written(prefix: str, start: float) -> list[str]:
    """Returns the files of predictions that were written since a time."""
    files = Path(prefix).parent.glob(f'{Path(prefix).name}.*.*')
    return sorted(str(x) for x in files if x.stat().st_mtime >= start)


def main() -> None:
    """Tests; wrong input ends with one message."""
    args, start = parse_args(), time.time()
    with cli.plain_errors(args.debug, Exception):
        runner = build_runner(args)
    log = cli.log_file(runner)
    with cli.plain_errors(args.debug, *cli.INPUT_ERRORS, log=log):
        runner.test()
    if is_main_process():
        print(f'\nlog: {log}')
        for metric in runner.test_evaluator.metrics:
            prefix = getattr(metric, 'outfile_prefix', None)
            if prefix:
                print(f'predictions: {", ".join(written(prefix, start))}')
            if getattr(metric, 'output_dir', None):
                print(f'predictions: {metric.output_dir}')
        if args.show_dir:
            inner = Path(args.show_dir, 'vis_data/vis_image')  # of mmseg's
            print(f'pictures: {inner if inner.is_dir() else args.show_dir}')


if __name__ == '__main__':
    main()
    cli.end_processes()
