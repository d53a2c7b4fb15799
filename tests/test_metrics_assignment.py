import math
import subprocess
import sys

import pytest
import torch

from taba_utils.metrics import accuracy_over_divisions, assignment, assignment_accuracy, attractors, nearest


def two_sets(n: int = 40, m: int = 40, shape: tuple[int, ...] = (3, 4, 4), seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, generator=generator), torch.randn(m, *shape, generator=generator)


def literal(queries: torch.Tensor, candidates: torch.Tensor) -> list[int]:
    """App. E.1: all distances of a query one by one, the first of the smallest."""
    found = []
    for query in queries.double():
        distances = [(query - candidate).square().sum().sqrt().item() for candidate in candidates.double()]
        found.append(distances.index(min(distances)))
    return found


@pytest.mark.parametrize(("n", "m"), [(1, 1), (40, 7), (7, 40)])
def test_the_nearest_candidate_is_that_of_the_literal_definition(n, m):
    queries, candidates = two_sets(n, m)
    assert nearest(queries, candidates).tolist() == literal(queries, candidates)


@pytest.mark.parametrize("scores_at_once", [1, 40, 100, 2**22])
@pytest.mark.parametrize("values_at_once", [1, 100, 2**23])
def test_blocks_of_any_size_give_the_same(monkeypatch, scores_at_once, values_at_once):
    monkeypatch.setattr(assignment, "SCORES_AT_ONCE", scores_at_once)
    monkeypatch.setattr(assignment, "VALUES_AT_ONCE", values_at_once)
    queries, candidates = two_sets()
    assert nearest(queries, candidates).tolist() == literal(queries, candidates)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_float_type_is_compared_by_its_own_values(dtype):
    queries, candidates = (x.to(dtype) for x in two_sets())
    assert nearest(queries, candidates).tolist() == literal(queries, candidates)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
def test_a_common_offset_and_tiny_differences_do_not_confuse_float32_products(offset):
    generator = torch.Generator().manual_seed(0)
    queries, candidates = torch.randn(2, 30, 48, generator=generator, dtype=torch.float64)
    candidates = queries + 1e-7 * candidates[0]  # all as near as rounding, each to its own
    candidates[10:20] = candidates[:10] + 1e-9
    queries, candidates = offset + queries, offset + candidates
    assert nearest(queries, candidates).tolist() == literal(queries, candidates)


def test_queries_far_from_candidates_that_are_close_together_are_decided_exactly():
    queries, candidates = (x.double() for x in two_sets())
    queries, candidates = 100 * queries + 1000, 1e-6 * candidates
    assert nearest(queries, candidates).tolist() == literal(queries, candidates)


def test_of_equally_near_candidates_the_first_is_taken():
    queries, candidates = two_sets(20, 10)
    candidates = torch.cat([candidates, candidates, candidates])
    found = nearest(queries, candidates)
    assert found.max() < 10
    assert found.tolist() == literal(queries, candidates)
    assert nearest(torch.zeros(1, 2), torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0]])).tolist() == [0]


def test_a_set_finds_itself_and_a_permuted_one_its_fixed_points():
    x, _ = two_sets()
    assert assignment_accuracy(x, x) == 1
    assert assignment_accuracy(x, x + 0.01) == 1
    turned = x.clone()
    turned[:10] = x[:10].roll(1, dims=0)
    assert assignment_accuracy(x, turned) == 30 / 40


def test_accuracy_has_a_direction():
    queries, candidates = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [1.1], [1.2]])
    assert assignment_accuracy(queries, candidates) == 1
    assert assignment_accuracy(candidates, queries) == 2 / 3


def test_a_candidate_of_small_norm_attracts_every_query():
    queries, candidates = two_sets(shape=(3, 16, 16))
    candidates[17] = 0
    assert nearest(queries, candidates).tolist() == [17] * 40


def test_independent_sets_are_guessed_at_one_in_n():
    values = [assignment_accuracy(*two_sets(50, 50, seed=seed)) for seed in range(40)]
    assert sum(values) / 40 == pytest.approx(1 / 50, abs=3 * math.sqrt(1 / 50 / 2000))


def test_accuracy_over_divisions_is_that_of_each_division_by_itself():
    x, _ = two_sets()
    y = x + 0.9 * two_sets(seed=1)[0]
    found = accuracy_over_divisions(x, y, pool_size=10)
    each = [assignment_accuracy(x[i : i + 10], y[i : i + 10]) for i in (0, 10, 20, 30)]
    assert found.values == pytest.approx(each)
    assert found.mean == pytest.approx(sum(each) / 4)
    assert found.std == pytest.approx(torch.tensor(each).std().item(), abs=1e-7)


def test_accuracy_falls_with_the_number_of_candidates():
    x, _ = two_sets(64, 64)
    y = x + 1.5 * two_sets(64, 64, seed=1)[0]
    means = [accuracy_over_divisions(x, y, pool_size).mean for pool_size in (1, 4, 16, 64)]
    assert means[0] == 1
    assert means == sorted(means, reverse=True)
    assert means[-1] < 0.9


def test_a_single_division_has_no_standard_deviation():
    x, _ = two_sets()
    assert math.isnan(accuracy_over_divisions(x, x, pool_size=40).std)


@pytest.mark.parametrize("pool_size", [0, -1, 3, 41])
def test_divisions_leave_no_sample_out(pool_size):
    x, _ = two_sets()
    with pytest.raises(ValueError, match=f"pool_size must divide the 40 samples, got {pool_size}"):
        accuracy_over_divisions(x, x, pool_size)


@pytest.mark.parametrize(
    ("queries", "candidates", "message"),
    [
        (torch.zeros(3, 4), torch.zeros(2, 4), "must be pairs, got 3 queries and 2 candidates"),
        (torch.zeros(3, 4), torch.zeros(3, 5), r"one shape of samples, got \(3, 4\) and \(3, 5\)"),
        (torch.zeros(3), torch.zeros(3), r"must be \(N, ...\) and \(M, ...\)"),
        (torch.zeros(0, 4), torch.zeros(0, 4), "queries must not be empty"),
        (torch.zeros(3, 4), torch.zeros(3, 4).long(), "candidates must have a floating-point dtype"),
        (torch.zeros(3, 4), torch.full((3, 4), float("nan")), "candidates must be finite"),
        (torch.full((3, 4), float("inf")), torch.zeros(3, 4), "queries must be finite"),
    ],
)
def test_impossible_assignments_are_refused(queries, candidates, message):
    with pytest.raises(ValueError, match=message):
        assignment_accuracy(queries, candidates)


MEMORY = """
import resource, sys, torch
from taba_utils.metrics import nearest

x = torch.randn(20_000, 3, 2, 2)
assert (nearest(x.roll(1, dims=0), x) == (torch.arange(20_000) - 1) % 20_000).all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** (20 if sys.platform == "darwin" else 10))
"""


def test_twenty_thousand_against_twenty_thousand_fit_in_two_gigabytes():
    found = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert (
        float(found.stdout) < 2048
    )  # MiB; about 920 are torch's, and the distances in float32 would be 1526


def test_attractors_count_wrong_queries_alone():
    indices, share = attractors(
        torch.tensor([0, 4, 2, 4, 4, 2, 4])
    )  # right: 0, 2, 4; wrong: 1, 3, 6 at 4, 5 at 2
    assert indices.tolist() == [4, 2] and share == 1
    assert attractors(torch.tensor([0, 4, 2, 4, 4, 2, 4]), 1)[1] == 3 / 4


def test_without_wrong_queries_nothing_is_attracted():
    assert math.isnan(attractors(torch.arange(5))[1])


@pytest.mark.parametrize("count", [0, 6])
def test_attractors_are_some_of_the_candidates(count):
    with pytest.raises(ValueError, match=f"count must be between 1 and 5, got {count}"):
        attractors(torch.arange(5), count)
