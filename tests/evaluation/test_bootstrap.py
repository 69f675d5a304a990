"""Intervals and tests against SciPy, exact enumeration, simulation and arithmetic."""
import itertools
import time

import numpy as np
import pytest
from scipy import stats

from mmpose_surgical.evaluation.bootstrap import MIN_VIDEOS, Distribution, cluster_bootstrap, permutation_p


def ratio(sums):
    """Parts and wholes to one share."""
    with np.errstate(invalid='ignore', divide='ignore'):
        return sums[..., :1] / sums[..., 1:]


def difference(a, b):
    return ratio(a) - ratio(b)


def counts(seed, videos=40, rate=.7, spread=.15):
    """(1, V, 2) hits and trials of videos that differ in size and rate."""
    rng = np.random.default_rng(seed)
    trials = rng.integers(5, 30, videos)
    own = np.clip(rng.normal(rate, spread, videos), 0, 1)
    return np.stack([rng.binomial(trials, own), trials], axis=-1)[None].astype(float)


@pytest.mark.parametrize('seed', [0, 1])
def test_one_seed_equals_scipy(seed):
    table = counts(seed)
    hits, trials = table[0].T

    def share(hits, trials, axis=-1):
        return hits.sum(axis=axis) / trials.sum(axis=axis)
    theirs = stats.bootstrap((hits, trials), share, paired=True, vectorized=True, n_resamples=20_000, method='BCa',
                             rng=np.random.default_rng(1)).confidence_interval
    ours = cluster_bootstrap([table], ratio, resamples=20_000)
    assert ours.estimate == pytest.approx(hits.sum() / trials.sum())
    # Two draws of 20,000: the ends agree to a small part of the width.
    assert ours.interval()[0] == pytest.approx(list(theirs), abs=.03 * (theirs.high - theirs.low))


def test_a_skewed_case_is_not_symmetric_and_equals_scipy():
    trials = np.full(15, 20.)
    hits = np.array([20.] * 12 + [4., 10., 19.])

    def share(hits, trials, axis=-1):
        return hits.sum(axis=axis) / trials.sum(axis=axis)
    theirs = stats.bootstrap((hits, trials), share, paired=True, vectorized=True, n_resamples=20_000, method='BCa',
                             rng=np.random.default_rng(1)).confidence_interval
    found = cluster_bootstrap([np.stack([hits, trials], axis=-1)[None]], ratio, resamples=20_000)
    low, high = found.interval()[0]
    assert (low, high) == (pytest.approx(theirs.low, abs=.01), pytest.approx(theirs.high, abs=.01))
    assert found.estimate[0] - low > 1.5 * (high - found.estimate[0])


def test_coverage_of_a_ratio_of_sums():
    """95 % intervals of 40 videos hold the truth in about 95 % of 300 worlds (binomial error 1.3 %)."""
    truth = counts(0, videos=200_000)[0].sum(axis=0)
    truth = truth[0] / truth[1]
    inside = [low <= truth <= high for low, high in
              (cluster_bootstrap([counts(100 + n)], ratio, resamples=1000).interval()[0] for n in range(300))]
    assert .91 <= np.mean(inside) <= .98


def test_seeds_widen_the_interval():
    same = np.repeat(counts(3), 3, axis=0)
    # Seeds that are all alike say nothing more than one.
    alone, thrice = (cluster_bootstrap([table], ratio).interval()[0] for table in (same[:1], same))
    assert thrice == pytest.approx(alone, abs=.005)
    apart = same * [[[.8, 1]], [[1, 1]], [[1.2, 1]]]
    spread = cluster_bootstrap([apart], ratio)
    assert spread.estimate[0] == pytest.approx(ratio(same[0].sum(axis=0))[0])
    # Standard errors .036 of the videos and, with 2 degrees of freedom, .2 * .7 / sqrt(3) of the seeds.
    variances = np.array([.036 ** 2, (.2 * spread.estimate[0]) ** 2 / 3])
    freedom = variances.sum() ** 2 / (variances[1] ** 2 / 2)
    assert spread.freedom[0] == pytest.approx(freedom, rel=.1) and freedom < 4
    assert np.ptp(spread.interval()[0]) == pytest.approx(
        2 * stats.t.ppf(.975, freedom) * np.sqrt(variances.sum()), rel=.1)


@pytest.mark.parametrize('number', [3, 5, 12])
def test_seeds_alone_give_the_t_interval(number):
    """Videos that are all alike leave the seeds to vary, as independent units."""
    hits = np.array([8, 9, 11, 6, 7, 13, 9, 10, 12, 8, 10, 9.])[:number]
    table = np.tile(np.stack([hits, np.full(number, 20.)], axis=1)[:, None], (1, 6, 1))
    theirs = stats.ttest_1samp(hits / 20, 0)
    found = cluster_bootstrap([table], ratio, resamples=100_000)
    assert found.interval()[0] == pytest.approx(list(theirs.confidence_interval(.95)), abs=.012)
    assert found.freedom == number - 1 and found.acceleration == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize('seeds, least', [(2, .84), (3, .91)])
def test_coverage_over_few_seeds_that_differ(seeds, least):
    """Where the seeds of a method spread by 6 points, 45 videos by 12; drawing the seeds would hold the truth in 75 %
    of the worlds with two of them, and in 80 % with three."""
    rng, inside = np.random.default_rng(seeds), []
    for _ in range(200):
        trials = rng.integers(10, 40, 45)
        rate = np.clip(rng.normal(.6, .12, 45) + rng.normal(0, .06, (seeds, 1)), 0, 1)
        table = np.stack([rng.binomial(trials, rate), np.tile(trials, (seeds, 1))], axis=-1).astype(float)
        low, high = cluster_bootstrap([table], ratio, resamples=1000).interval()[0]
        inside.append(low <= .6 <= high)
    assert least <= np.mean(inside) <= .985


def test_paired_seeds_are_one_table():
    """Seeds that belong together are those of both tables side by side."""
    a, b = (np.concatenate([counts(s, rate=rate) for s in seeds]) for seeds, rate in (((0, 1, 2), .7), ((3, 4, 5), .6)))
    paired = cluster_bootstrap([a, b], difference, paired_seeds=True)
    both = cluster_bootstrap([np.concatenate([a, b], axis=-1)], lambda sums: difference(sums[..., :2], sums[..., 2:]))
    assert paired.draws == pytest.approx(both.draws) and paired.acceleration == pytest.approx(both.acceleration)
    assert paired.freedom == pytest.approx(both.freedom)
    with pytest.raises(ValueError, match='different numbers of seeds'):
        cluster_bootstrap([a, b[:2]], difference, paired_seeds=True)


def test_pairing_sees_a_small_gain_over_seeds_that_differ():
    rng = np.random.default_rng(6)
    trials = np.full((3, 30), 40.)
    rate = np.array([.3, .5, .7])[:, None] + rng.normal(0, .05, 30)
    gains = rng.normal(.1, .1, (3, 30))
    a, b = (np.stack([np.round(trials * (rate + gain)), trials], axis=-1) for gain in (gains, 0))
    low, high = cluster_bootstrap([a, b], difference, paired_seeds=True).interval()[0]
    assert 0 < low < .1 < high
    assert cluster_bootstrap([a, b], difference).interval()[0][0] < 0


def test_no_interval_where_none_can_be_told():
    few = cluster_bootstrap([counts(0, videos=MIN_VIDEOS - 1)], ratio)
    assert np.isnan(few.interval()).all() and np.isnan(few.p_value()).all() and np.isnan(few.p_equivalence(.1)).all()
    enough = cluster_bootstrap([counts(0, videos=MIN_VIDEOS)], ratio)
    assert np.isfinite(enough.interval()).all()
    # All right in all videos: no resample differs.
    perfect = counts(0)
    perfect[..., 0] = perfect[..., 1]
    assert np.isnan(cluster_bootstrap([perfect], ratio).interval()).all()
    # Four of forty videos have the case at all.
    rare = counts(0)
    rare[:, 4:] = 0
    assert np.isnan(cluster_bootstrap([rare], ratio).interval()).all()
    # Six have it: resamples without any of them are left out.
    some = counts(0)
    some[:, 6:] = 0
    assert np.isfinite(cluster_bootstrap([some], ratio).interval()).all()


def test_p_is_that_of_the_interval_which_reaches_zero():
    a, b = counts(5, rate=.72), counts(5, rate=.7)
    found = cluster_bootstrap([a, b], difference)
    p = found.p_value()[0]
    assert .001 < p < .9
    ends = found.interval(1 - p)[0]
    assert min(abs(ends)) < 2e-4
    # One-sided levels are a distribution function: rising, 1/2 near the middle.
    levels = [found.level(value)[0] for value in np.quantile(found.draws, [.01, .3, .5, .7, .99])]
    assert levels == sorted(levels) and .35 < levels[2] < .65


def test_quantiles_beyond_all_resamples_are_those_of_student():
    draws = stats.norm.ppf((np.arange(9999) + .5) / 9999)[:, None]
    found = Distribution(np.zeros(1), draws, np.zeros(1), np.full(1, 2.), np.array([40]))
    assert found.interval()[0] == pytest.approx(np.array([-1, 1]) * stats.t.ppf(.975, 2), rel=.01)
    for value in (-1.5, 0, 2.9, -4.3, -20):
        assert found.level(value)[0] == pytest.approx(stats.t.cdf(value, 2), rel=.02)
    # However skewed, the limits do not turn round.
    skewed = Distribution(np.zeros(1), draws, np.full(1, .1), np.ones(1), np.array([40])).interval()[0]
    assert skewed[0] < -10 and skewed[1] > 10


def test_equivalence_by_two_one_sided_tests():
    # A symmetric distribution without acceleration: BCa is the percentile interval.
    draws = stats.norm.ppf((np.arange(9999) + .5) / 9999)[:, None] * .01
    found = Distribution(np.zeros(1), draws, np.zeros(1), np.array([np.inf]), np.array([40]))
    assert found.p_equivalence(.03)[0] == pytest.approx(stats.norm.cdf(-3), rel=.05)
    assert found.p_equivalence(.01)[0] == pytest.approx(stats.norm.cdf(-1), rel=.05)
    assert found.interval(.9)[0] == pytest.approx([-.01645, .01645], rel=.01)
    shifted = Distribution(np.full(1, .025), draws + .025, np.zeros(1), np.array([np.inf]), np.array([40]))
    assert shifted.p_equivalence(.03)[0] == pytest.approx(stats.norm.cdf(-.5), rel=.05)


def test_no_p_is_smaller_than_the_resamples_allow():
    a, b = counts(1, rate=.9), counts(1, rate=.3)
    assert cluster_bootstrap([a, b], difference, resamples=999).p_value()[0] == pytest.approx(2 / 1000)


def test_permutation_by_hand_and_by_enumeration():
    trials = np.full(5, 10.)
    a, b = (np.stack([hits, trials], axis=1) for hits in (np.array([9., 8, 9, 7, 9]), np.array([5., 5, 5, 5, 5])))
    # a is better in all 5 videos: of 32 swaps only this one and its mirror are as extreme.
    assert permutation_p(a, b, difference)[0] == 2 / 32
    rng = np.random.default_rng(0)
    a, b = (np.stack([rng.integers(0, 10, 7), np.full(7, 10)], axis=1).astype(float) for _ in range(2))
    found = abs((a[:, 0].sum() - b[:, 0].sum()) / 70)
    extreme = 0
    for swap in itertools.product([False, True], repeat=7):
        one = sum(y if s else x for s, x, y in zip(swap, a[:, 0], b[:, 0]))
        extreme += abs(2 * one - a[:, 0].sum() - b[:, 0].sum()) / 70 >= found - 1e-12
    assert permutation_p(a, b, difference)[0] == extreme / 2 ** 7
    # The random swaps of many resamples come near the exact answer.
    assert permutation_p(a, b, difference, resamples=100)[0] == pytest.approx(extreme / 2 ** 7, abs=.15)


def test_permutation_and_bootstrap_agree_on_many_videos():
    a, b = counts(7, rate=.74), counts(8, rate=.7)
    both = cluster_bootstrap([a, b], difference).p_value()[0], permutation_p(a[0], b[0], difference)[0]
    assert both[0] == pytest.approx(both[1], abs=.08)


@pytest.mark.parametrize('videos, seeds, spread', [(10, 1, 0), (40, 3, .02), (45, 2, .06)])
def test_equal_methods_are_rarely_told_apart(videos, seeds, spread):
    """The larger of both p keeps its level where one of them alone does not: few videos, or seeds that differ."""
    rng = np.random.default_rng(videos)

    def method(trials, own):
        rate = np.clip(own + rng.normal(0, .06, videos) + rng.normal(0, spread, (seeds, 1)), 0, 1)
        return np.stack([rng.binomial(trials, rate), np.tile(trials, (seeds, 1))], axis=-1).astype(float)
    p = []
    for _ in range(200):
        trials, own = rng.integers(10, 40, videos), rng.normal(.7, .15, videos)
        a, b = method(trials, own), method(trials, own)
        p.append([cluster_bootstrap([a, b], difference, resamples=1000).p_value()[0],
                  permutation_p(a.mean(axis=0), b.mean(axis=0), difference, resamples=1000)[0]])
    alone = (np.array(p) < .05).mean(axis=0)
    assert max(alone) > .08 and (np.max(p, axis=1) < .05).mean() <= .085


def test_many_measures_in_well_under_a_second():
    rng = np.random.default_rng(0)
    table = rng.integers(1, 9, (3, 60, 5, 2, 4)).astype(float)
    start = time.perf_counter()
    cluster_bootstrap([table], lambda sums: sums[..., 0] / sums[..., 1]).interval()
    assert time.perf_counter() - start < 1
