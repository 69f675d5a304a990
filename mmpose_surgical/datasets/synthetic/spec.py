"""What a synthetic data set contains: its size, the share of sources and actions, and the splits."""
import dataclasses
import hashlib
import json
from dataclasses import dataclass

import numpy as np

VERSION = '1'
"""Version of the rendered content. Raise it whenever equal specs would give other pictures or labels."""

SOURCES = ('YouTube', 'Cholec80', 'HeiChole', 'SurgVU', 'CRCDC')
ACTIONS = ('clip', 'dissect', 'grasp')
TOOLS = ('grasper', 'hook', 'clip_applier')
TOOL_OF = {'clip': 'clip_applier', 'dissect': 'hook', 'grasp': 'grasper'}
ACTION_OF = {tool: action for action, tool in TOOL_OF.items()}

CASES = np.array([7, 25, 7, 13, 8])
"""Surgical cases per source (paper, Table 1)."""

CLIPS = np.array([[36, 611, 124], [157, 3605, 752], [57, 939, 220], [35, 245, 322], [0, 628, 136]])
"""Clips per source and action (paper, Table 1)."""


@dataclass(frozen=True)
class SyntheticSpec:
    """Everything that decides the content of a data set; equal specs give equal bytes on one machine.

    Attributes:
        seed: Seed of the whole set; each video has its own stream ``SeedSequence([seed, video index])``.
        videos: Number of surgical cases, shared out to the sources as in Table 1.
        clips_per_video: Mean number of clips in which a tool acts.
        idle_share: Share of all clips in which no tool acts (true negatives), in addition to the acting ones.
        action_temper: Exponent on the action shares of Table 1: 1 keeps them (clip 3.6 %), less evens them out.
        ambiguity: Share of clips in which only motion tells which tool acts. In the others the acting tool is
            nearest to the middle, holds tissue and is of another type than the rest.
        same_type: Probability that all tools of a clip are of one type.
        shares: Shares of the clips in train, validation and test.
        folds: Number of folds of the training videos.
        size: Picture size (width, height) in pixels.
    """
    seed: int = 0
    videos: int = 60
    clips_per_video: float = 13.1
    idle_share: float = 0.12
    action_temper: float = 1.0
    ambiguity: float = 1.0
    same_type: float = 0.6
    shares: tuple[float, float, float] = (0.60, 0.15, 0.25)
    folds: int = 5
    size: tuple[int, int] = (640, 480)

    def fingerprint(self) -> str:
        """Hash of the spec and of the renderer's version."""
        text = json.dumps([VERSION, dataclasses.asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


DEMO = SyntheticSpec(videos=28, clips_per_video=11.4, action_temper=0.5, folds=2)
"""Small enough to be made and learnt on two cores in minutes; rare actions are more frequent than in Table 1."""

DEFAULT = SyntheticSpec()
"""Table 1 divided by ten."""

SPECS = {'demo': DEMO, 'default': DEFAULT}


@dataclass(frozen=True)
class VideoPlan:
    """One surgical case: ``actions`` holds one entry per clip, ``None`` for an idle one."""
    index: int
    name: str
    source: str
    fps: float
    actions: tuple[str | None, ...]


def action_shares(spec: SyntheticSpec) -> np.ndarray:
    """Share of every source (rows) and action (columns) among the acting clips; sums to 1."""
    overall = CLIPS.sum(0) / CLIPS.sum()
    weights = CLIPS * overall ** (spec.action_temper - 1.0)
    return weights / weights.sum()


def plan_videos(spec: SyntheticSpec) -> list[VideoPlan]:
    """Share the clips out to videos: sources and actions as in Table 1, evenly over the videos of a source."""
    rng = np.random.default_rng(np.random.SeedSequence([spec.seed, 0xC11B5]))
    cases = _apportion(CASES * spec.videos / CASES.sum(), spec.videos)
    total = max(round(spec.videos * spec.clips_per_video), spec.videos)
    shares = action_shares(spec) * (cases > 0)[:, None]
    counts = _apportion(shares.ravel() / shares.sum() * total, total).reshape(shares.shape)
    plans: list[VideoPlan] = []
    for source, n_videos, per_action in zip(SOURCES, cases, counts):
        lists: list[list[str | None]] = [[] for _ in range(n_videos)]
        for action, n_clips in zip(ACTIONS, per_action):
            for k in range(n_clips):
                # The emptiest video gets the next clip, so that a rare action reaches as many videos as it can.
                fewest = min(range(n_videos), key=lambda v: (lists[v].count(action), len(lists[v]), v))
                lists[fewest].append(action)
        for actions in lists:
            n_idle = rng.binomial(1, _fraction(actions, spec)) + int(_idle(actions, spec))
            actions += [None] * n_idle
            index = len(plans)
            # Two of the sources are stored at 10 frames per second, the others at 25 thinned by three.
            fps = 10.0 if source in ('YouTube', 'HeiChole') else 25 / 3
            order = rng.permutation(len(actions))
            plans.append(VideoPlan(index, f'{source.lower()}_{index:03d}', source, fps,
                                   tuple(actions[i] for i in order)))
    return plans


def _idle(actions: list, spec: SyntheticSpec) -> float:
    return len(actions) * spec.idle_share / (1.0 - spec.idle_share)


def _fraction(actions: list, spec: SyntheticSpec) -> float:
    return _idle(actions, spec) % 1.0


def _apportion(wanted: np.ndarray, total: int) -> np.ndarray:
    """Round to whole numbers that sum to ``total`` (largest remainder)."""
    wanted = np.asarray(wanted, float)
    whole = np.floor(wanted).astype(int)
    order = np.argsort(-(wanted - whole), kind='stable')
    whole[order[:total - whole.sum()]] += 1
    return whole


def plan_splits(spec: SyntheticSpec, plans: list[VideoPlan]) -> dict[str, list]:
    """Splits and folds by video, stratified so that each has its share of every action and of the idle clips.

    Returns:
        ``{train, val, test, folds}`` with video names, as ``splits.json`` has them.
    """
    groups = _stratify(plans, spec.shares)
    train = groups[0]
    folds = _stratify(train, [1.0 / spec.folds] * spec.folds) if spec.folds > 1 and len(train) >= spec.folds else []

    def names(group: list[VideoPlan]) -> list[str]:
        return sorted(plan.name for plan in group)
    return {'train': names(train), 'val': names(groups[1]), 'test': names(groups[2]),
            'folds': [names(fold) for fold in folds]}


def _stratify(plans: list[VideoPlan], shares: tuple[float, ...] | list[float]) -> list[list[VideoPlan]]:
    """Iterative stratification: the video with the rarest clips goes where these are missed most."""
    labels = (*ACTIONS, None)
    counts = {plan.name: np.array([plan.actions.count(label) for label in labels], float) for plan in plans}
    totals = np.maximum(sum(counts.values()), 1.0)
    shares = np.asarray(shares) / np.sum(shares)
    missing = shares[:, None] * totals
    groups: list[list[VideoPlan]] = [[] for _ in shares]
    order = sorted(plans, key=lambda p: (-(counts[p.name] / totals).sum(), p.index))
    for position, plan in enumerate(order):
        empty = [g for g, group in enumerate(groups) if not group]
        candidates = empty if len(empty) >= len(order) - position else range(len(groups))
        need = (missing / totals) @ (counts[plan.name] / totals)
        best = max(candidates, key=lambda g: (need[g], shares[g]))
        groups[best].append(plan)
        missing[best] -= counts[plan.name]
    return groups
