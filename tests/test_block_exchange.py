"""Values move between blocks as if there were one block."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from dask import delayed

from ssl_dask.block_exchange import exchange, fetch_rows, gathered_rows, row_starts
from ssl_dask.execution import Execution

CHUNKS = (3, 0, 4, 1, 0)


def by_remainder(blocks):
    """Cut numbers by their remainder of 3; the second of a pair is added to them."""
    numbers = np.concatenate([values + added for values, added in blocks])
    return [numbers[numbers % 3 == owner] for owner in range(3)]


def joined(owner, pieces):
    return owner, np.concatenate(pieces)


@pytest.mark.parametrize(("max_pieces", "n_tasks"), [(100, 4), (7, 2), (1, 1)])
def test_each_value_comes_to_its_owner_in_the_order_of_the_blocks(max_pieces, n_tasks):
    rng = np.random.default_rng(0)
    parts = [rng.integers(0, 100, n) for n in (5, 0, 7, 2)]
    blocks = [(delayed(part), 10 * b) for b, part in enumerate(parts)]
    called = []

    def split(group):
        called.append(len(group))
        return by_remainder(group)

    tasks = exchange(blocks, split, 3, joined, max_pieces=max_pieces)
    whole = np.concatenate([part + 10 * b for b, part in enumerate(parts)])
    for number, (owner, found) in enumerate(Execution().compute(tasks)):
        assert owner == number
        np.testing.assert_array_equal(found, whole[whole % 3 == owner])
    assert len(called) == n_tasks
    assert sum(called) == len(parts)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("wanted", [[0, 2, 6, 7], [7, 0, 3, 3], [5], []])
def test_rows_are_fetched_in_the_order_asked_for(wanted, sparse):
    whole = np.arange(24.0).reshape(8, 3) % 5
    cuts = np.cumsum((0, *CHUNKS))
    blocks = [whole[a:b] for a, b in pairwise(cuts)]
    handles = [delayed(sp.csr_array(block) if sparse else block) for block in blocks]
    rows = np.array(wanted, dtype=np.int64)
    starts = row_starts(CHUNKS)
    assert starts == (0, 3, 3, 7, 8)
    for first_rows in (starts, np.append(starts, 8)):
        found = fetch_rows(handles, first_rows, rows, Execution())
        assert sp.issparse(found) == sparse
        np.testing.assert_array_equal(found.toarray() if sparse else found, whole[rows])
    gathered = gathered_rows(handles, starts, np.sort(rows)).compute()
    np.testing.assert_array_equal(gathered.toarray() if sparse else gathered, whole[np.sort(rows)])


def test_only_blocks_that_hold_a_wanted_row_are_made():
    made = []

    def block(number):
        made.append(number)
        return np.arange(10) + 10 * number

    handles = [delayed(block)(number) for number in range(4)]
    found = fetch_rows(handles, [0, 10, 20, 30], np.array([35, 12]), Execution())
    assert found.tolist() == [35, 12]
    assert sorted(made) == [1, 3]


def test_rows_of_tables_are_fetched_by_their_own_functions():
    tables = [delayed(pa.table({"a": [1, 2, 3]})), delayed(pa.table({"a": [4, 5]}))]
    take, stack = pa.Table.take, pa.concat_tables
    rows = np.array([4, 0, 3])
    found = fetch_rows(tables, [0, 3], rows, Execution(), take=take, stack=stack)
    assert found.column("a").to_pylist() == [5, 1, 4]
