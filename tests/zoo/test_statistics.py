"""Wilson's interval and Student's t against scipy."""

import pytest
from scipy.stats import binomtest, t

from zoo.statistics import t_quantile, two_sided, wilson


@pytest.mark.parametrize(("hits", "count"), [(0, 5), (3, 7), (50, 100), (4, 4)])
def test_the_interval_of_a_proportion_is_wilsons(hits, count):
    known = binomtest(hits, count).proportion_ci(method="wilson")
    assert wilson(hits, count) == pytest.approx((known.low, known.high), abs=1e-6)
    assert (wilson(0, count)[0], wilson(count, count)[1]) == (0, 1)


@pytest.mark.parametrize("freedom", [1, 2, 3.7, 30, 900, 1e6])
def test_probabilities_and_quantiles_are_those_of_students_t(freedom):
    for value in (0.0, 0.3, -2.0, 6.0):
        assert two_sided(value, freedom) == pytest.approx(2 * t.sf(abs(value), freedom), rel=5e-5)
    for outside in (0.05, 0.001):
        assert t_quantile(freedom, outside) == pytest.approx(t.isf(outside / 2, freedom), rel=1e-3)
