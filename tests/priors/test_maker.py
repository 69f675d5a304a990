"""Filling a store: skipping, resuming, sharing, counting."""
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.base import MaskPrior, MaskPriorBackend, PriorFrame
from mmpose_surgical.priors.maker import (
    PriorJob,
    PriorReport,
    PriorSummary,
    is_made,
    make_priors,
    mask_iou,
    report_priors,
    variant_id,
)
from mmpose_surgical.priors.store import RecordStore

ONE = np.ones(1, np.int64)


class Square(MaskPriorBackend):
    """A square around the first prompt; a prompt at x < 5 makes it cover everything. Counts its calls."""
    name = 'square'

    def __init__(self) -> None:
        super().__init__(long_side=32)
        self.embedded: list[int] = []
        self.prompted = 0

    def embed(self, frame: PriorFrame) -> tuple[int, int]:
        assert frame.instance_masks is None
        self.embedded.append(frame.image_id)
        return frame.size

    def segment(self, embedding: tuple[int, int], points_xy: np.ndarray,
                labels: np.ndarray) -> tuple[np.ndarray, float, float]:
        self.prompted += 1
        logits = np.full(self.grid_shape(embedding), -3.)
        x, y = points_xy[0].astype(int)
        if x < 5:
            logits += 6
        logits[max(0, y - 3):y + 3, max(0, x - 3):x + 3] = 3
        return logits, 0.5, 1.


def masks() -> list[np.ndarray]:
    left, right = np.zeros((24, 32), bool), np.zeros((24, 32), bool)
    left[6:18, 4:14] = True
    right[6:18, 26:32] = True
    return [left, right]


def job(i: int, points: Sequence = ((10, 12),), shade: int | None = None, truth: bool = False) -> PriorJob:
    rgb = np.full((24, 32, 3), i if shade is None else shade, np.uint8)
    square = np.zeros((24, 32), bool)
    square[9:15, 7:13] = True
    return PriorJob(i, lambda: PriorFrame(rgb, i, masks), np.array(points, float).reshape(-1, 2),
                    np.ones(len(points), np.int64), masks, (lambda: square) if truth else None)


def open_store(root: Path, backend: MaskPriorBackend) -> RecordStore:
    return RecordStore(root, {'backend': backend.fingerprint}, 'a')


def test_each_picture_once_and_a_second_pass_calls_nothing(tmp_path: Path) -> None:
    backend, seen = Square(), []
    jobs = [job(i, truth=True) for i in range(5)]
    summary = make_priors(jobs, backend, open_store(tmp_path, backend), 2, lambda *at: seen.append(at))
    assert summary == PriorSummary(total=5, made=5)
    assert backend.embedded == list(range(5)) and backend.prompted == 5
    assert seen == [(0, 5), (2, 5), (4, 5), (5, 5)]

    def explode() -> PriorFrame:
        raise AssertionError('a finished picture was loaded')

    again = [PriorJob(j.image_id, explode, j.points_xy, j.labels) for j in jobs]
    assert make_priors(again, backend, open_store(tmp_path, backend)) == PriorSummary(total=5, done=5)
    assert backend.prompted == 5


def test_stored_equals_live(tmp_path: Path) -> None:
    backend = Square()
    one = job(3, [(10.03, 12.)])
    make_priors([one], backend, open_store(tmp_path, backend))
    stored = MaskPrior.from_record(*RecordStore(tmp_path).get(3))
    live = backend.prior(one.load(), one.points_xy, one.labels)
    np.testing.assert_array_equal(stored.logits, live.logits)
    np.testing.assert_array_equal(stored.points_xy, [[10., 12.]])
    assert (stored.valid, stored.iou, stored.object_score) == (True, 0.5, 1.)


def test_no_prompts_no_call(tmp_path: Path) -> None:
    backend = Square()
    summary = make_priors([job(1, []), job(2)], backend, open_store(tmp_path, backend), 2)
    assert (summary.unprompted, summary.made, backend.embedded) == (1, 1, [2])
    empty = MaskPrior.from_record(*RecordStore(tmp_path).get(1))
    assert not empty.valid and not empty.probability().any()


def test_the_report_covers_the_whole_store_whoever_made_it(tmp_path: Path) -> None:
    backend = Square()
    jobs = [job(1, [(2, 12)], truth=True), job(2, [(10, 12), (29, 12)]), job(3, truth=True), job(4, [])]
    make_priors(jobs[:2], backend, open_store(tmp_path, backend))
    with open_store(tmp_path, backend) as store:
        assert make_priors(jobs, backend, store, 3).made == 1
        report = report_priors(jobs, store)
    # Picture 1 fails the gate, 2 has a prompt on each tool, 3 is exact, 4 has no prompt.
    assert report == PriorReport(pictures=4, unprompted=1, failed=1, with_instances=3, straddling=1, with_truth=2,
                                 iou_sum=1.)
    assert report.mean_iou == 0.5 and 'straddle two tools in 1 of 3' in report.line()
    assert report + PriorReport() == report and PriorReport().mean_iou is None
    assert RecordStore(tmp_path).get(1)[1]['valid'] is False


def test_equal_pixels_and_prompts_are_segmented_once(tmp_path: Path) -> None:
    backend = Square()
    jobs = [job(1, shade=9), job(2, shade=9), job(3, shade=9)]
    summary = make_priors(jobs, backend, open_store(tmp_path, backend), 2)
    assert (summary.made, summary.reused, backend.prompted) == (1, 2, 1)
    assert RecordStore(tmp_path).missing([1, 2, 3]) == []


def test_other_prompts_make_a_new_prior_and_old_ones_are_found_again(tmp_path: Path) -> None:
    backend, store_of = Square(), lambda: open_store(tmp_path, backend)
    make_priors([job(1)], backend, store_of())
    assert make_priors([job(1, [(12, 12)])], backend, store_of()).made == 1
    assert RecordStore(tmp_path).get(1)[0]['points_xy'].tolist() == [[12, 12]]
    assert make_priors([job(1)], backend, store_of()).reused == 1
    assert RecordStore(tmp_path).get(1)[0]['points_xy'].tolist() == [[10, 12]]
    assert backend.prompted == 2


def test_a_cut_off_run_goes_on(tmp_path: Path) -> None:
    backend = Square()

    def cut() -> PriorFrame:
        raise KeyboardInterrupt

    jobs = [job(i) for i in range(6)]
    broken = [*jobs[:4], PriorJob(4, cut, jobs[4].points_xy, ONE), jobs[5]]
    with pytest.raises(KeyboardInterrupt):
        make_priors(broken, backend, open_store(tmp_path, backend), 2)
    summary = make_priors(jobs, backend, open_store(tmp_path, backend), 2)
    assert (summary.done, summary.made) == (4, 2)
    assert backend.embedded == list(range(6))


def test_ranks_share_the_list(tmp_path: Path) -> None:
    backend = Square()
    jobs = [job(i) for i in range(7)]
    stores = [open_store(tmp_path, backend) for _ in range(3)]
    parts = [make_priors(jobs[rank::3], backend, stores[rank]) for rank in range(3)]
    assert [part.made for part in parts] == [3, 2, 2]
    assert sum(parts, PriorSummary()) == PriorSummary(total=7, made=7)
    assert sorted(backend.embedded) == list(range(7))
    assert len(RecordStore(tmp_path)) == 7


def test_mask_iou_by_hand() -> None:
    logits = np.full((4, 8), -5, np.int8)
    logits[:2, :4] = 5
    prior = MaskPrior(logits, 1., 1., True, np.zeros((1, 2), np.float32), ONE)
    truth = np.zeros((8, 16), bool)
    truth[:4, :16] = True
    assert mask_iou(prior, truth) == 0.5


def test_jittered_prompts_are_segmented_from_one_embedding(tmp_path: Path) -> None:
    backend = Square()
    moved = (np.array([[11., 12.]]), np.array([[14., 12.]]))
    jobs = [dataclasses.replace(job(1), jittered=moved), job(2, [])]
    summary = make_priors(jobs, backend, open_store(tmp_path, backend), 2)
    assert (summary.made, summary.unprompted, backend.embedded, backend.prompted) == (1, 1, [1], 3)
    store = RecordStore(tmp_path)
    prompts = [store.get(variant_id(1, k))[0]['points_xy'].tolist() for k in (0, 1, 2)]
    assert prompts == [[[10, 12]], [[11, 12]], [[14, 12]]] and len(store) == 4
    assert make_priors(jobs, backend, open_store(tmp_path, backend)).done == 2
    fewer = [dataclasses.replace(jobs[0], jittered=moved[:1]), jobs[1]]
    assert all(is_made(one, store) for one in fewer)


def test_own_prompts_are_never_decoded_together_with_jittered_ones(tmp_path: Path, monkeypatch) -> None:
    backend, calls = Square(), []
    predict_batch = backend.predict_batch
    monkeypatch.setattr(backend, 'predict_batch', lambda *args: calls.append(len(args[1])) or predict_batch(*args))
    jobs = [dataclasses.replace(job(i), jittered=[np.array([[11., 12. + k]]) for k in range(3)]) for i in range(2)]
    make_priors(jobs, backend, open_store(tmp_path, backend), batch_size=2)
    assert calls == [2, 6] and backend.embedded == [0, 1]


def test_pictures_that_cannot_be_read_are_all_told_and_the_others_made(tmp_path: Path) -> None:
    def torn(image_id: int) -> PriorFrame:
        raise UserError('picture cannot be decoded', f'{image_id}.jpg', 'restore it')

    backend = Square()
    jobs = [dataclasses.replace(job(i), load=lambda i=i: torn(i)) if i in (1, 2) else job(i) for i in range(5)]
    with open_store(tmp_path, backend) as store:
        summary = make_priors(jobs, backend, store, batch_size=2)
        assert summary == PriorSummary(total=5, made=3, refused=[
            'picture cannot be decoded (1.jpg)', 'picture cannot be decoded (2.jpg)'])
        assert store.missing(range(5)) == [1, 2]
        assert make_priors([job(i) for i in range(5)], backend, store) == PriorSummary(total=5, done=3, made=2)
