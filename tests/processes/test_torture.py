"""Nothing is lost, doubled or reordered, whatever happens to the processes."""

import sys

import pytest

from tests.torture import Plan, torture

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


async def test_few_kills_lose_double_and_reorder_nothing():
    verdict = await torture(Plan(seed=7, messages=200, kills=5))
    assert verdict.problems == []
    assert verdict.accepted > 0


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_many_kills_lose_double_and_reorder_nothing(seed):
    verdict = await torture(Plan(seed=seed, messages=5000, kills=100, senders=3, receivers=3))
    assert verdict.problems == []
