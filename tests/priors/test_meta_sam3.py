"""Meta's own code and transformers on the same random weights."""
from pathlib import Path

import numpy as np
import pytest
import torch

from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.base import PriorFrame, build_backend

pytest.importorskip('transformers', reason='SAM needs the extra sam3 (transformers)')
sam3 = pytest.importorskip('sam3', reason="parity needs Meta's package sam3 (extra sam3)")


@pytest.fixture(scope='module')
def small(plugin, tmp_path_factory: pytest.TempPathFactory):
    """Both sides with one set of weights: the real decoder at full resolution, behind a backbone of two thin layers."""
    from sam3 import model_builder
    from sam3.model.vitdet import ViT
    from sam_models import META_SMALL_VIT, small_huggingface_config, to_huggingface, write_meta_checkpoint
    from transformers import Sam3TrackerModel

    from mmpose_surgical.priors.meta_sam3 import build_tracker
    patch = pytest.MonkeyPatch()
    patch.setattr(model_builder, '_create_vit_backbone', lambda compile_mode=None: ViT(**META_SMALL_VIT))
    folder = tmp_path_factory.mktemp('parity')
    tracker = build_tracker(folder)
    file = write_meta_checkpoint(tracker, folder / 'sam3.pt')
    model = Sam3TrackerModel(small_huggingface_config())
    model.load_state_dict(to_huggingface(tracker.state_dict()), strict=True)
    model.save_pretrained(folder / 'hf')
    yield file, folder / 'hf'
    patch.undo()


def test_same_weights_same_masks(small) -> None:
    meta, huggingface = (build_backend(dict(backend='sam3', checkpoint=str(path))) for path in small)
    assert (meta.weights.kind, huggingface.weights.kind) == ('meta', 'huggingface')
    frame = PriorFrame(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    sets = [np.array([[20, 30], [55, 12]], np.float32), np.array([[70, 50], [3, 5]], np.float32)]
    labels = [np.ones(2, np.int64)] * 2
    found = [b.segment_batch([b.embed(frame)] * 2, sets, labels) for b in (meta, huggingface)]
    for (a, iou_a, score_a), (b, iou_b, score_b) in zip(*found, strict=True):
        assert np.abs(a - b).max() <= 1e-3 * a.std()
        assert ((a > 0) == (b > 0)).mean() >= 0.999 and 0 < (a > 0).mean() < 1
        assert (iou_a, score_a) == pytest.approx((iou_b, score_b), abs=1e-3)


def test_the_process_is_left_as_it_was(small) -> None:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    build_backend(dict(backend='sam3', checkpoint=str(small[0]))).model  # noqa: B018
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before
    assert not torch.is_autocast_enabled('cuda') and not torch.is_autocast_enabled('cpu')


@pytest.mark.parametrize('spoil, message', [
    (lambda s: {k: v for k, v in s.items() if k != 'tracker.no_mem_embed'}, '1 missing, e.g. no_mem_embed'),
    (lambda s: s | {'tracker.more': torch.zeros(1)}, '1 unexpected, e.g. more'),
    (lambda s: s | {'foreign': torch.zeros(1)}, '1 unexpected, e.g. foreign'),
    (lambda s: s | {'tracker.no_mem_embed': torch.zeros(1, 1, 7)}, 'size mismatch for no_mem_embed'),
    (lambda s: {k: v for k, v in s.items() if k.startswith('detector.')}, 'no "tracker.*" weights'),
])
def test_weights_must_fit(small, tmp_path: Path, spoil, message: str) -> None:
    state = spoil(torch.load(small[0], weights_only=True))
    torch.save(state, tmp_path / 'sam3.pt')
    with pytest.raises(UserError, match=message):
        build_backend(dict(backend='sam3', checkpoint=str(tmp_path / 'sam3.pt'))).model  # noqa: B018


def test_code_in_the_file_is_never_run(small, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path(tmp_path / 'ran').touch, ())

    torch.save({'tracker.x': Evil()}, tmp_path / 'sam3.pt')
    with pytest.raises(UserError, match='cannot be read safely'):
        build_backend(dict(backend='sam3', checkpoint=str(tmp_path / 'sam3.pt'))).model  # noqa: B018
    assert not (tmp_path / 'ran').exists()
