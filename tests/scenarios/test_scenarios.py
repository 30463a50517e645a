"""Each story goes as it is written down; `pytest tests/scenarios --rewrite` writes them anew."""

from pathlib import Path

import pytest

from tests.scenarios.language import play
from tests.test_protocol import RULE, rules

STORIES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story_goes_as_written(path, request):
    written = path.read_text()
    told = play(written)
    if request.config.getoption("rewrite"):
        path.write_text(told)
    else:
        assert told == written


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story_names_rules_that_exist_and_tells_something(path):
    title, *lines = path.read_text().splitlines()
    assert title.startswith("# ")
    assert set(RULE.findall(title)) <= set(rules())
    assert any(line.startswith("    ") for line in lines)
