"""Fill a store with mask priors (no torch in here; a backend may need it)."""
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields

import cv2
import numpy as np

from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.base import MaskPrior, MaskPriorBackend, PriorFrame
from mmpose_surgical.priors.prompts import round_prompts, straddles
from mmpose_surgical.priors.store import RecordStore, content_key


@dataclass(frozen=True)
class PriorJob:
    """One picture and its prompts.

    Args:
        image_id: Its id in the annotation file.
        load: Reads the picture; called only for what is not yet done.
        points_xy: (P, 2), pixels of the original picture; P may be 0.
        labels: (P,).
        instances: Gives the bool (H, W) masks of all instances, acting or not, for the report alone.
        truth: Gives the bool (H, W) mask of the acting tools, for the report alone: no backend sees it.
        jittered: More sets of P points, see :func:`~mmpose_surgical.priors.prompts.jittered_prompts`.
    """
    image_id: int
    load: Callable[[], PriorFrame]
    points_xy: np.ndarray
    labels: np.ndarray
    instances: Callable[[], Sequence[np.ndarray]] | None = None
    truth: Callable[[], np.ndarray | None] | None = None
    jittered: Sequence[np.ndarray] = ()


@dataclass
class PriorSummary:
    """What was done; add up the summaries of several ranks with ``+``.

    ``total`` = ``done`` (in the store before) + ``made`` + ``reused`` (same pixels and prompts under another
    id) + ``unprompted`` + the number of ``refused``: what is wrong with each picture that could not be read.
    """
    total: int = 0
    done: int = 0
    made: int = 0
    reused: int = 0
    unprompted: int = 0
    refused: list[str] = field(default_factory=list)

    def __add__(self, other: 'PriorSummary') -> 'PriorSummary':
        return PriorSummary(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


HELD_OUT = 'held out'
"""Name of the pictures, in reports, that no model is trained on: their prompts come from the coarse network itself."""


@dataclass
class PriorReport:
    """How good the priors of a store are; add up the reports of several ranks with ``+``.

    Of ``pictures``, ``unprompted`` had no prompt and ``failed`` did not pass the quality gate; of ``with_instances``
    that have prompts and known instances, ``straddling`` had prompts on two tools; ``mean_iou`` is over ``with_truth``
    masks of acting tools, where a picture without a valid prior counts as 0.
    """
    pictures: int = 0
    unprompted: int = 0
    failed: int = 0
    with_instances: int = 0
    straddling: int = 0
    with_truth: int = 0
    iou_sum: float = 0.

    @property
    def mean_iou(self) -> float | None:
        """Mean IoU with the acting tools; ``None`` where none is known."""
        return self.iou_sum / self.with_truth if self.with_truth else None

    def __add__(self, other: 'PriorReport') -> 'PriorReport':
        return PriorReport(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def line(self) -> str:
        """The report in words."""
        words = [f'{self.pictures} pictures', f'{self.unprompted} without prompts', f'{self.failed} failed']
        if self.with_instances:
            words.append(f'prompts straddle two tools in {self.straddling} of {self.with_instances}')
        if self.mean_iou is not None:
            words.append(f'mean IoU with the acting tool {self.mean_iou:.2f}')
        return ', '.join(words)


def prompt_note(points_xy: np.ndarray, labels: np.ndarray) -> str:
    """Short hash of one set of prompts, by which a link made for other prompts is told from a current one."""
    parts = round_prompts(points_xy).astype('<f4').tobytes() + np.asarray(labels, '<i8').tobytes()
    return hashlib.sha256(parts).hexdigest()[:16]


def variant_id(image_id: int, variant: int) -> int | str:
    """Id in a store of a picture's prior: of its own prompts (variant 0), or of a jittered set (1, 2, ...)."""
    return f'{image_id}/{variant}' if variant else image_id


def is_made(job: PriorJob, store: RecordStore) -> bool:
    """Whether a store has the priors of all sets of prompts of a picture, as they are now."""
    return all(store.note(variant_id(job.image_id, k)) == prompt_note(points, job.labels)
               for k, points in enumerate((job.points_xy, *job.jittered)))


def make_priors(jobs: Iterable[PriorJob], backend: MaskPriorBackend, store: RecordStore, batch_size: int = 1,
                progress: Callable[[int, int], None] | None = None) -> PriorSummary:
    """Make the priors that the store lacks, and those whose prompts have changed.

    What is done costs no call of the backend. Ranks share the work as ``jobs[rank::world]``, each with its
    own :class:`RecordStore` on the same folder. A cut-off run goes on where it was: a batch is stored when it
    is made. A picture that cannot be read does not end a long run: it is told in the summary, and the caller raises.

    Args:
        jobs: Pictures and prompts.
        backend: Segments them.
        store: Open for appending, with a fingerprint that names the backend.
        batch_size: Pictures per call of :meth:`MaskPriorBackend.embed_batch`.
        progress: Called with (finished, total) pictures, after the look at the store and after each batch.

    Returns:
        The summary of this call.
    """
    jobs = list(jobs)
    pending = [job for job in jobs if not is_made(job, store)]
    summary = PriorSummary(total=len(jobs), done=len(jobs) - len(pending))
    finished = summary.done
    if progress is not None:
        progress(finished, len(jobs))
    for start in range(0, len(pending), batch_size):
        batch = pending[start:start + batch_size]
        loaded = []
        for job in batch:
            try:
                loaded.append((job, job.load()))
            except UserError as error:
                summary.refused.append(f'{error.what} ({error.where})')
        summary += _make_batch(loaded, backend, store)
        finished += len(batch)
        if progress is not None:
            progress(finished, len(jobs))
    return summary


def _make_batch(loaded: Sequence[tuple[PriorJob, PriorFrame]], backend: MaskPriorBackend,
                store: RecordStore) -> PriorSummary:
    summary = PriorSummary()
    jobs, frames = [job for job, _ in loaded], [frame for _, frame in loaded]
    digests = [backend.frame_digest(frame) for frame in frames]
    # (picture, variant, prompts, key) of every set of prompts; a picture is embedded once for all of its sets.
    items = [(i, k, round_prompts(points)) for i, job in enumerate(jobs)
             for k, points in enumerate((job.points_xy, *job.jittered))]
    keys = [content_key(digests[i], points, jobs[i].labels, backend.fingerprint) for i, _, points in items]

    # Two pictures of one batch may have the same key; the backend is asked once.
    asked = {key: n for n, key in enumerate(keys) if len(items[n][2]) and not store.has_value(key)}
    chosen = sorted(asked.values())
    pictures = sorted({items[n][0] for n in chosen})
    if chosen:
        embedded = backend.embed_batch([backend.visible_part(frames[i]) for i in pictures])
        embeddings = dict(zip(pictures, embedded, strict=True))
        # Jittered sets in a call of their own: how many there are must not round a picture's own prior otherwise.
        for together in ([n for n in chosen if not items[n][1]], [n for n in chosen if items[n][1]]):
            priors = backend.predict_batch([embeddings[items[n][0]] for n in together], [items[n][2] for n in together],
                                           [jobs[items[n][0]].labels for n in together])
            for n, prior in zip(together, priors, strict=True):
                store.put(keys[n], *prior.to_record())
    own = {i: key for (i, k, _), key in zip(items, keys, strict=True) if k == 0}
    for i, job in enumerate(jobs):
        if not len(job.points_xy):
            summary.unprompted += 1
            store.put(own[i], *backend.no_prior(frames[i].size).to_record())
        elif i in pictures:
            summary.made += 1
        else:
            summary.reused += 1
    # Links after all values: a picture of this batch may use the value of another.
    for (i, k, points), key in zip(items, keys, strict=True):
        store.link(variant_id(jobs[i].image_id, k), key, prompt_note(points, jobs[i].labels))
    return summary


def assess_prior(job: PriorJob, store: RecordStore) -> PriorReport:
    """Compare the prior of one picture, of its own prompts, with what the annotations know."""
    prior = MaskPrior.from_record(*store.get(job.image_id))
    prompted = bool(len(prior.points_xy))
    report = PriorReport(pictures=1, unprompted=not prompted, failed=prompted and not prior.valid)
    instances = job.instances() if job.instances is not None and prompted else ()
    if len(instances):
        report.with_instances = 1
        report.straddling = int(straddles(prior.points_xy, instances))
    truth = job.truth() if job.truth is not None else None
    if truth is not None:
        report.with_truth = 1
        report.iou_sum = mask_iou(prior, truth)
    return report


def report_priors(jobs: Iterable[PriorJob], store: RecordStore) -> PriorReport:
    """The sum over all priors of these jobs, whichever call made them."""
    return sum((assess_prior(job, store) for job in jobs), PriorReport())


def mask_iou(prior: MaskPrior, truth: np.ndarray) -> float:
    """IoU of a prior with a bool (H, W) mask, on the prior's grid; 0 for a prior that is not valid."""
    shape = prior.logits.shape
    wanted = cv2.resize(truth.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA) > 0.5
    mask = prior.mask()
    union = np.logical_or(mask, wanted).sum()
    return float(np.logical_and(mask, wanted).sum() / union) if union else float(prior.valid)
