# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import json

import masked_modeling
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, FUNCTIONS
from mmengine.structures import BaseDataElement
from PIL import Image
from tiny_tasks import ARCH

KINDS, MASK_ID = masked_modeling.KINDS, 37  # of the tests' tokenizer


@DATASETS.register_module(force=True)
class MaskedNoise(torch.utils.data.Dataset):
    """Images, texts and pairs as they come from a pipeline."""

    def __init__(self, pipeline):
        self.pipeline = pipeline  # where the tokenizer is named

    def __len__(self):
        return 30

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        kind, inputs = KINDS[index % 3], {}
        if kind != 'text':
            image = torch.randint(256, (3, 64, 64), generator=generator)
            mask = torch.rand(16, generator=generator) < 0.4
            inputs |= dict(
                image=image[:, ::2, ::2].byte(),
                tokenizer_image=image.byte(),
                image_mask=mask,
            )
        if kind != 'image':
            ids = torch.randint(4, 36, (5 + index % 4,), generator=generator)
            ids[0], ids[-1] = 0, 2
            mask = torch.arange(len(ids)) == 2
            inputs |= dict(
                target_ids=ids,
                text_mask=mask,
                text_ids=ids.masked_fill(mask, MASK_ID),
            )
        return dict(kind=kind, inputs=inputs, data_samples=BaseDataElement())


@FUNCTIONS.register_module(force=True)
def collate_noise(samples):
    return {
        key: {
            kind: [x[key] for x in samples if x['kind'] == kind]
            for kind in KINDS
        }
        for key in ('inputs', 'data_samples')
    }


@pytest.fixture
def files(tmp_path, tokenizer_file):
    """Writes a config and a checkpoint of a tiny model."""
    model = masked_modeling.config(
        ARCH,
        visual_tokenizer=masked_modeling.STUB,
        data_preprocessor=dict(
            type='beit3_mm.MaskedModelingDataPreprocessor',
            mean=[127.5] * 3,
            std=[90] * 3,
        ),
    )
    config = Config(
        dict(
            model=model,
            train_dataloader=dict(
                batch_size=6,
                num_workers=2,
                persistent_workers=True,
                collate_fn=dict(type='mmengine.collate_noise'),
                sampler=dict(type='mmengine.DefaultSampler', shuffle=False),
                dataset=dict(
                    type='mmengine.MaskedNoise',
                    pipeline=[dict(model_file=str(tokenizer_file))],
                ),
            ),
        )
    )
    config.dump(tmp_path / 'mdm.py')
    weights = masked_modeling.build(ARCH).state_dict()
    torch.save({'state_dict': weights}, tmp_path / 'mdm.pth')
    return tmp_path / 'mdm.py', tmp_path / 'mdm.pth'


def test_it_draws_samples_of_each_kind(files, run_tool, tmp_path, capsys):
    out = tmp_path / 'pictures'
    run_tool(
        *('analysis_tools/masked_pictures', *files, '--out-dir', out),
        *('--num', 2, '--mean-of', 2),
    )
    names = {path.name for path in out.glob('*.png')}
    assert names == {f'{kind}_{i}.png' for kind in KINDS for i in range(2)}
    sizes = {k: Image.open(out / f'{k}_0.png').size for k in KINDS}
    assert sizes['image'][0] == sizes['pair'][0] > 3 * sizes['text'][0]
    assert sizes['pair'][1] > sizes['image'][1]  # the text below
    printed = capsys.readouterr().out
    shares = json.loads((out / 'most_frequent.json').read_text())
    parts = ('image', 'text', 'pair_image', 'pair_text')
    assert set(shares) == {f'acc_{part}' for part in parts}
    samples = [MaskedNoise(None)[i]['inputs'] for i in (1, 4, 7, 10)]
    words = [int(x['target_ids'][x['text_mask']]) for x in samples]
    commonest = max(map(words.count, words))
    assert shares['acc_text'] == commonest / 4  # of 2 batches of 6
    for name, share in shares.items():
        assert 0 < share <= 1
        assert f'{name} {share:.3f}' in printed
    assert printed.endswith(f'pictures: {out}\n')


def test_errors(files, run_tool, tmp_path):
    tool = 'analysis_tools/masked_pictures'
    with pytest.raises(SystemExit, match='there is no config file'):
        run_tool(tool, 'gone.py', files[1])
    with pytest.raises(SystemExit, match='there is no checkpoint file'):
        run_tool(tool, files[0], 'gone.pth')
    other = tmp_path / 'other.py'
    other.write_text("model = dict(type='mmengine.ModuleList')")
    message = r'ModuleList.* must be beit3_mm\.MaskedDataModeling'
    with pytest.raises(SystemExit, match=message):
        run_tool(tool, other, files[1])
    for option in ('--num', '--mean-of'):
        with pytest.raises(SystemExit, match=f'{option} 0 .*at least 1'):
            run_tool(tool, *files, option, 0)
