"""Agreement figures: published examples, sklearn's kappa, honest intervals, speed."""

import time
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from labeling import agreement
from labeling.agreement import Agreement, Distance, Ratings, Undefined
from labeling.agreement.ratings import differences


def ratings(*raters: str) -> Ratings:
    """One line a rater, one character a unit, "." for none."""
    return Ratings.of(
        (unit, rater, {int(value)})
        for rater, line in enumerate(raters)
        for unit, value in enumerate(line.replace(" ", ""))
        if value != "."
    )


def sets(*rows: tuple[int, int, set[int]]) -> Ratings:
    return Ratings.of(rows)


def two_people(
    n: int, *, right: float, seed: int, values: int = 5, start: int = 0
) -> Ratings:
    """Two people who see the truth that often, else guess."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, values, n)
    rows: list[tuple[int, int, set[int]]] = []
    for rater in (1, 2):
        seen = np.where(draw.random(n) < right, truth, draw.integers(0, values, n))
        rows += [(start + u, rater, {int(v)}) for u, v in enumerate(seen)]
    return Ratings.of(rows)


class TestAlpha:
    def test_krippendorffs_example_with_missing_data(self) -> None:
        # Krippendorff (2011), example C: 4 observers, 12 units, nominal alpha 0.743.
        found = agreement.alpha(
            ratings(
                "1 2 3 3 2 1 4 1 2 . . .",
                "1 2 3 3 2 2 4 1 2 5 . 3",
                ". 3 3 3 2 3 4 2 2 5 1 .",
                "1 2 3 3 2 4 4 1 2 5 1 .",
            )
        )
        assert found.value == pytest.approx(0.743, abs=5e-4)
        assert found.n == 11
        assert found.low is not None
        assert found.high is not None
        assert found.low < 0.743 < found.high

    def test_krippendorffs_example_of_two_observers(self) -> None:
        # The same paper, example B: 2 observers, 12 units, 5 values: 0.692.
        found = agreement.alpha(ratings("112243335441", "212223335444"))
        assert found.value == pytest.approx(0.692, abs=5e-4)

    def test_binary_example(self) -> None:
        # The same paper, example A: 2 observers, 10 units, 0 or 1: 0.095.
        found = agreement.alpha(ratings("0100000010", "1110001000"), min_shared=2)
        assert found.value == pytest.approx(0.095, abs=5e-4)

    def test_three_coders_of_which_each_left_some_out(self) -> None:
        found = agreement.alpha(
            ratings(
                ".....3412113 3.3",
                "1.21334 3.......",
                "..21344.2113 3.4",
            )
        )
        assert found.value == pytest.approx(0.691, abs=5e-4)

    def test_of_chance_is_about_zero_and_its_interval_says_so(self) -> None:
        found = agreement.alpha(two_people(500, right=0.0, seed=3))
        assert found.low is not None
        assert found.high is not None
        assert found.low < 0 < found.high

    def test_the_interval_covers_the_truth_about_as_often_as_it_says(self) -> None:
        # Both see the truth with 0.8, independently: alpha is 0.64.
        inside = 0
        for seed in range(100):
            found = agreement.alpha(two_people(150, right=0.8, seed=seed))
            assert found.low is not None
            assert found.high is not None
            inside += found.low <= 0.64 <= found.high
        assert 88 <= inside <= 99

    def test_the_same_data_give_the_same_interval_in_any_order(self) -> None:
        made = two_people(60, right=0.7, seed=1)
        rows = list(zip(made.units, made.raters, made.values, strict=True))
        turned = Ratings.of(
            (int(u), int(r), made.sets[v]) for u, r, v in reversed(rows)
        )
        a, b = agreement.alpha(made), agreement.alpha(turned)
        assert a.value == pytest.approx(b.value)
        assert a == agreement.alpha(made)

    def test_full_agreement_of_few_is_not_certain(self) -> None:
        few = agreement.alpha(ratings("0101010101", "0101010101"))
        many = agreement.alpha(ratings("01" * 100, "01" * 100))
        assert few.value == many.value == 1.0
        assert few.low is not None
        assert many.low is not None
        assert few.low < 0.6 < 0.9 < many.low < 1

    @pytest.mark.parametrize(
        ("lines", "why"),
        [
            (("0123456789",), Undefined.ONE_RATER),
            ((), Undefined.ONE_RATER),
            (("012......", "012345678"), Undefined.TOO_FEW),
            (("0" * 12, "0" * 12), Undefined.ONE_CATEGORY),
        ],
    )
    def test_says_why_it_is_undefined(
        self, lines: tuple[str, ...], why: Undefined
    ) -> None:
        found = agreement.alpha(ratings(*lines))
        assert (found.value, found.low, found.undefined) == (None, None, why)


class TestSets:
    def test_masi_is_between_jaccard_and_all_or_nothing(self) -> None:
        equal, subset, crossing, apart, empty = (
            frozenset({1, 2}),
            frozenset({1}),
            frozenset({2, 3}),
            frozenset({9}),
            frozenset[int](),
        )
        kinds = (equal, subset, crossing, apart, empty)
        table = differences(kinds, Distance.MASI)
        assert table[0] == pytest.approx([0, 1 - 1 / 2 * 2 / 3, 1 - 1 / 9, 1, 1])
        assert table[4] == pytest.approx([1, 1, 1, 1, 0])
        assert table == pytest.approx(table.T)

    def test_a_missing_intent_is_a_smaller_disagreement(self) -> None:
        def with_last(labels: set[int]) -> Agreement:
            rows = [(u, r, {u % 3}) for u in range(11) for r in (1, 2)]
            return agreement.alpha(
                sets(*rows, (20, 1, {0, 1}), (20, 2, labels)), distance=Distance.MASI
            )

        same, subset, apart = (with_last(one) for one in ({0, 1}, {0}, {2}))
        assert same.value == 1.0
        assert subset.value is not None
        assert apart.value is not None
        assert 1 > subset.value > apart.value

    def test_on_single_intents_masi_is_nominal(self) -> None:
        made = two_people(80, right=0.6, seed=2)
        assert agreement.alpha(made, distance=Distance.MASI) == agreement.alpha(made)


class TestCategories:
    def test_one_against_the_rest_is_the_alpha_of_yes_and_no(self) -> None:
        made = two_people(400, right=0.7, seed=5)
        found = agreement.alpha_by_category(made)
        assert set(found) == set(range(5))
        for category, one in found.items():
            binary = agreement.alpha(
                Ratings.of(
                    (int(u), int(r), {int(category in made.sets[v])})
                    for u, r, v in zip(
                        made.units, made.raters, made.values, strict=True
                    )
                )
            )
            assert one.value == pytest.approx(binary.value)
            assert one.low == pytest.approx(binary.low, abs=0.02)
            assert one.high == pytest.approx(binary.high, abs=0.02)

    def test_a_rare_category_is_not_judged_by_the_many_that_lack_it(self) -> None:
        made = two_people(300, right=0.9, seed=6, values=2)
        rare = [(1000 + u, r, {7}) for u in range(3) for r in (1, 2)]
        rows = zip(made.units, made.raters, made.values, strict=True)
        both = [(int(u), int(r), made.sets[v]) for u, r, v in rows]
        found = agreement.alpha_by_category(Ratings.of([*both, *rare]))
        assert (found[7].undefined, found[7].n) == (Undefined.TOO_FEW, 3)

    def test_named_by_all_or_by_one_person_only(self) -> None:
        everybody = sets(*((u, r, {0}) for u in range(12) for r in (1, 2)))
        found = agreement.alpha_by_category(everybody)
        assert found[0].undefined == Undefined.ONE_CATEGORY
        alone = sets(*((u, 1, {0}) for u in range(12)))
        assert agreement.alpha_by_category(alone) == {}

    def test_several_intents_a_question_count_each(self) -> None:
        rows: list[tuple[int, int, set[int]]] = []
        for unit in range(40):
            both = {0, 1} if unit % 2 else {1, 2}
            rows += [(unit, 1, both), (unit, 2, both - ({1} if unit < 10 else set()))]
        found = agreement.alpha_by_category(Ratings.of(rows))
        assert found[0].value == found[2].value == 1.0
        assert found[1].value is not None
        assert found[1].value < 0.1


class TestKappa:
    @pytest.mark.parametrize("seed", range(5))
    def test_is_sklearns(self, seed: int) -> None:
        made = two_people(200, right=0.3 + 0.15 * seed, seed=seed)
        by_rater = [made.values[made.raters == rater] for rater in (1, 2)]
        [pair] = agreement.kappas(made)
        expected = cohen_kappa_score(*by_rater)
        assert pair.kappa.value == pytest.approx(expected)
        assert (pair.a, pair.b, pair.kappa.n) == (1, 2, 200)

    def test_published_interval(self) -> None:
        # J. L. Fleiss, Statistical Methods for Rates and Proportions, 2nd ed., table
        # 13.1: 100 subjects, kappa 0.68, standard error 0.087.
        cells = [[75, 1, 4], [5, 4, 1], [0, 0, 10]]
        rows = [(i, j) for i in range(3) for j in range(3) for _ in range(cells[i][j])]
        a, b = np.array(rows).T
        kinds = tuple(frozenset({k}) for k in range(3))
        found = agreement.kappa(a, b, kinds)
        assert found.value == pytest.approx(0.676, abs=1e-3)
        assert found.low is not None
        assert found.high is not None
        half = (found.high - found.low) / 2
        assert half / 1.96 == pytest.approx(0.088, abs=2e-3)

    def test_interval_agrees_with_a_resampling(self) -> None:
        made = two_people(300, right=0.7, seed=9)
        a, b = (made.values[made.raters == rater] for rater in (1, 2))
        found = agreement.kappa(a, b, made.sets)
        draw = np.random.default_rng(0)
        again = []
        for _ in range(400):
            picked = draw.integers(0, 300, 300)
            again.append(cohen_kappa_score(a[picked], b[picked]))
        assert (found.low, found.high) == pytest.approx(
            tuple(np.percentile(again, (2.5, 97.5))), abs=0.02
        )

    def test_every_pair_that_shares_questions(self) -> None:
        made = ratings("0101010101....", "0101010101....", "....0101010101", ". .")
        found = {(pair.a, pair.b): pair.kappa for pair in agreement.kappas(made)}
        assert set(found) == {(0, 1), (0, 2), (1, 2)}
        assert found[0, 1].value == 1.0
        assert (found[0, 2].n, found[0, 2].undefined) == (6, Undefined.TOO_FEW)
        for a, b in combinations(range(3), 2):
            assert found[a, b].n == [10, 6, 6][a + b - 1]

    def test_undefined_where_both_always_say_the_same_one_thing(self) -> None:
        [pair] = agreement.kappas(ratings("0" * 20, "0" * 20))
        assert pair.kappa.undefined == Undefined.ONE_CATEGORY
        assert pair.kappa.observed == 1.0

    def test_nothing_shared(self) -> None:
        assert agreement.kappas(ratings("01..", "..01")) == []
        assert agreement.kappas(ratings()) == []


class TestDifference:
    def test_newcombes_example(self) -> None:
        # Newcombe (1998), table II, 56/70 - 48/80, method 10: 0.0524 to 0.3339.
        low, centre, high = agreement.difference(56, 70, 48, 80)
        assert (low, centre, high) == pytest.approx((0.0524, 0.2, 0.3339), abs=1e-4)

    def test_an_empty_sample(self) -> None:
        with pytest.raises(ValueError, match="no share"):
            agreement.difference(1, 1, 0, 0)


def test_quick_at_a_hundred_thousand_shared_questions() -> None:
    draw = np.random.default_rng(0)
    n = 100_000
    truth = draw.integers(0, 50, n)
    columns: list[Any] = []
    for rater in range(3):
        seen = np.where(draw.random(n) < 0.9, truth, draw.integers(0, 50, n))
        columns.append((np.arange(n), np.full(n, rater), seen))
    units, raters, values = (np.concatenate(c) for c in zip(*columns, strict=True))
    order = np.lexsort((raters, units))
    kinds = tuple(frozenset({k}) for k in range(50))
    made = Ratings(units[order], raters[order], values[order], kinds)
    start = time.process_time()
    agreement.alpha(made)
    agreement.alpha_by_category(made)
    agreement.kappas(made)
    assert time.process_time() - start < 6
