# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from pathlib import Path
from typing import Any

from beit3_mm.evaluation.sample_metric import (
    SampleMetric,
    field,
    predicted_label,
    write_json,
)
from beit3_mm.registry import METRICS


@METRICS.register_module()
class NLVR2Accuracy(SampleMetric):
    """Share of statements that are judged right, in per cent.

    A sample has `identifier`, `pred_label` (1 is true) and, but for
    `format_only`, `gt_label`. An identifier is `split-set-pair-sentence`, as
    in the official files; a sentence is told of several pairs, and is judged
    consistently if all of these judgements are right (lil-lab/nlvr,
    nlvr2/eval/metrics.py).

    Figures: `nlvr2/accuracy`, `nlvr2/consistency`. Written are
    `<outfile_prefix>.nlvr2.csv`, lines of `identifier,True` or
    `identifier,False` as the official evaluation reads them, and
    `<outfile_prefix>.nlvr2.json`, a list of `identifier` and `prediction`.

    Args:
        outfile_prefix: Where to write predictions, without the suffix.
        format_only: Writes predictions and computes no score.
        collect_device: 'cpu' or 'gpu': how results travel.
        prefix: In front of the names of the figures, instead of 'nlvr2'.

    Raises:
        ValueError: In use, if a field is missing or out of range, scores
            are not finite, an identifier is of another form, or two samples
            have the same.

    Example:
        >>> dict(type='beit3_mm.NLVR2Accuracy')
    """

    default_prefix = 'nlvr2'

    def __init__(
        self,
        outfile_prefix: str | None = None,
        format_only: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(
            'identifier', outfile_prefix, format_only, collect_device, prefix
        )

    def read(self, sample: dict) -> dict[str, Any]:
        """Returns the judgement and the truth."""
        identifier = field(sample, 'identifier', 'NLVR2Accuracy')
        labels = {'pred_label': predicted_label(sample, 'NLVR2Accuracy')}
        if not self.format_only:
            labels['gt_label'] = int(
                field(sample, 'gt_label', 'NLVR2Accuracy')
            )
        result = dict(identifier=identifier)
        for key, label in labels.items():
            if label not in (0, 1):
                raise ValueError(
                    f'{key} {label} of {identifier} must be 0 (false) or 1 '
                    '(true)'
                )
            result[key] = bool(label)
        return result

    def write(self, results: list[dict[str, Any]]) -> list[Path]:
        """Writes the judgements as CSV and as JSON."""
        rows = [(x['identifier'], x['pred_label']) for x in results]
        path = Path(f'{self.outfile_prefix}.nlvr2.csv')
        lines = [f'{identifier},{label}\n' for identifier, label in rows]
        path.write_text(''.join(lines), encoding='utf-8')
        content = [dict(identifier=i, prediction=str(x)) for i, x in rows]
        return [
            path,
            write_json(f'{self.outfile_prefix}.nlvr2.json', content),
        ]

    def score(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Returns the shares of right judgements and of sentences of which
        all judgements are right.
        """
        right = [x['pred_label'] == x['gt_label'] for x in results]
        sentences: dict[tuple[str, ...], bool] = {}
        for result, hit in zip(results, right):
            sentence = _sentence(result['identifier'])
            sentences[sentence] = sentences.get(sentence, True) and hit
        return {
            'accuracy': 100 * sum(right) / len(right),
            'consistency': 100 * sum(sentences.values()) / len(sentences),
        }


def _sentence(identifier: str) -> tuple[str, ...]:
    """Returns the parts of an identifier but for the pair of images."""
    parts = identifier.split('-')
    if len(parts) != 4:
        raise ValueError(
            f'identifier {identifier!r} must be split-set-pair-sentence, '
            "such as 'dev-850-0-0'"
        )
    return (*parts[:2], parts[3])
