"""Meta's own code and transformers on the same random weights."""
import subprocess
import sys
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


def test_same_masks_as_the_predictor_of_the_authors(small) -> None:
    """Their own way from picture to logits, at a size that needs no resizing: the two resize otherwise."""
    from sam3.model.sam1_task_predictor import SAM3InteractiveImagePredictor
    backend = build_backend(dict(backend='sam3', checkpoint=str(small[0]), device='cpu'))
    rgb = np.random.default_rng(1).integers(0, 256, (1008, 1008, 3), dtype=np.uint8)
    points = np.array([[200, 300], [800, 700]], np.float32)
    predictor = SAM3InteractiveImagePredictor(backend.model.model, max_hole_area=0.)
    predictor.set_image(rgb)
    _, iou, theirs = predictor.predict(points, np.ones(2, np.int32), multimask_output=False, return_logits=True)
    embedding = backend.embed(PriorFrame(rgb))
    ours, quality, _ = backend.model.decode(embedding.levels, torch.from_numpy(points)[None],
                                            torch.ones(1, 2, dtype=torch.int64))
    assert np.abs(ours.numpy() - theirs).max() <= 1e-3 * theirs.std() and theirs.std() > 0.1
    assert quality.item() == pytest.approx(iou.item(), abs=1e-4)


def test_the_autocast_that_building_enters_is_left(small, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU their autocast is a dummy; whether it was left shows all the same."""
    from mmpose_surgical.priors.meta_sam3 import build_tracker
    entered = []
    enter, leave = torch.autocast.__enter__, torch.autocast.__exit__
    monkeypatch.setattr(torch.autocast, '__enter__', lambda self: entered.append(self) or enter(self))
    monkeypatch.setattr(torch.autocast, '__exit__', lambda self, *args: entered.remove(self) or leave(self, *args))
    tracker = build_tracker(small[0])
    assert isinstance(tracker.bf16_context, torch.autocast) and entered == []
    assert not torch.is_autocast_enabled('cuda') and not torch.is_autocast_enabled('cpu')


_TF32 = """
from types import SimpleNamespace
import torch
torch.cuda.is_available = torch.cuda.is_bf16_supported = lambda *args: True
torch.cuda.get_device_properties = lambda device: SimpleNamespace(major=9)
def switches():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
from mmpose_surgical.priors import meta_sam3
with meta_sam3._switches_restored():
    import sam3.model_builder
    print(switches())
print(switches())
"""


def test_tf32_that_the_import_switches_on_is_off_again() -> None:
    """A process of its own, which takes itself to have a large GPU: the import happens once."""
    done = subprocess.run([sys.executable, '-c', _TF32], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ['(True, True)', '(False, False)']


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
