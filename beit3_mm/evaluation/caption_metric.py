# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from beit3_mm.evaluation.caption_scores import bleu, cider_d, rouge_l
from beit3_mm.evaluation.java_scores import (
    JAVA_SCORES,
    java_score,
    require_java,
)
from beit3_mm.evaluation.ptb_tokenizer import ptb_words
from beit3_mm.evaluation.sample_metric import (
    SampleMetric,
    field,
    plain,
    write_json,
)
from beit3_mm.registry import METRICS
from beit3_mm.tokenizer import load_tokenizer

SCORES = ('CIDEr', 'BLEU', 'ROUGE_L', *JAVA_SCORES)


@METRICS.register_module()
class CaptionMetric(SampleMetric):
    """The official scores of captions (COCO, NoCaps), in per cent.

    A sample has `image_id`, `pred_ids` (T,) and, but for `format_only`,
    `captions`, the true ones. Where samples have a `domain`, as NoCaps does
    ('in-domain', 'near-domain', 'out-domain'), each domain is also scored as
    a corpus of its own. An empty caption is scored as one without words.

    Figures: `caption/CIDEr` (CIDEr-D), `caption/BLEU_1` to `caption/BLEU_4`,
    `caption/ROUGE_L`, `caption/METEOR`, `caption/SPICE`, of all images; of a
    domain `caption/CIDEr_in`, `caption/CIDEr_near`, `caption/CIDEr_out`. They
    are 100 times those of pycocoevalcap, as papers print them. Written is
    `<outfile_prefix>.caption.json`, a list of `image_id` and `caption`, which
    the test servers of COCO and NoCaps take.

    Args:
        model_file: SentencePiece model of the tokenizer.
        metrics: Of 'CIDEr', 'BLEU', 'ROUGE_L', and of 'METEOR' and 'SPICE',
            which need pycocoevalcap and Java.
        outfile_prefix: Where to write captions, without the suffix.
        format_only: Writes captions and computes no score.
        collect_device: 'cpu' or 'gpu': how results travel.
        prefix: In front of the names of the figures, instead of 'caption'.

    Raises:
        FileNotFoundError: If there is no such model file, or no Java.
        ImportError: If pycocoevalcap is missing.
        ValueError: If a score is unknown; in use, if a field is missing, an
            image has no true captions, or two samples have one `image_id`.

    Example:
        >>> dict(type='beit3_mm.CaptionMetric', model_file='beit3.spm')
    """

    default_prefix = 'caption'

    def __init__(
        self,
        model_file: str,
        metrics: Sequence[str] = ('CIDEr', 'BLEU', 'ROUGE_L'),
        outfile_prefix: str | None = None,
        format_only: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(
            'image_id', outfile_prefix, format_only, collect_device, prefix
        )
        metrics = [metrics] if isinstance(metrics, str) else list(metrics)
        unknown = [name for name in metrics if name not in SCORES]
        if unknown or not metrics:
            raise ValueError(f'{metrics=} must be some of {list(SCORES)}')
        require_java(*[name for name in metrics if name in JAVA_SCORES])
        self.metrics = metrics
        self.tokenizer = load_tokenizer(model_file)

    def read(self, sample: dict) -> dict[str, Any]:
        """Returns the caption as text, and the true ones."""
        ids = field(sample, 'pred_ids', 'CaptionMetric').tolist()
        result = dict(
            image_id=plain(field(sample, 'image_id', 'CaptionMetric')),
            caption=self.tokenizer.decode(ids),
        )
        if not self.format_only:
            truths = field(sample, 'captions', 'CaptionMetric')
            if isinstance(truths, str) or not truths:
                raise ValueError(
                    f'captions of image {result["image_id"]} must be a list '
                    f'of one or more, not {truths!r}'
                )
            result['truths'] = list(truths)
            result['domain'] = sample.get('domain')
        return result

    def write(self, results: list[dict[str, Any]]) -> list[Path]:
        """Writes the captions for a test server."""
        content = [
            {key: result[key] for key in ('image_id', 'caption')}
            for result in results
        ]
        return [write_json(f'{self.outfile_prefix}.caption.json', content)]

    def score(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Returns the scores of all images, and of each domain."""
        figures = self._score(results)
        domains = dict.fromkeys(result['domain'] for result in results)
        if None in domains and len(domains) > 1:
            raise ValueError(
                f'some images have a domain ({sorted(filter(None, domains))})'
                ' and some have none: the annotation file is incomplete'
            )
        for domain in filter(None, domains):
            part = [x for x in results if x['domain'] == domain]
            short = domain.removesuffix('-domain')
            figures |= {
                f'{name}_{short}': score
                for name, score in self._score(part).items()
            }
        return figures

    def _score(self, results: list[dict[str, Any]]) -> dict[str, float]:
        corpus = (
            [ptb_words(result['caption']) for result in results],
            [[ptb_words(x) for x in result['truths']] for result in results],
        )
        figures = {}
        for name in self.metrics:
            if name == 'BLEU':
                for n, score in enumerate(bleu(*corpus), 1):
                    figures[f'BLEU_{n}'] = score
            elif name == 'CIDEr':
                figures[name] = cider_d(*corpus)
            elif name == 'ROUGE_L':
                figures[name] = rouge_l(*corpus)
            else:
                figures[name] = java_score(name, *corpus)
        return {name: 100 * score for name, score in figures.items()}
