"""Work on a Ray cluster of two nodes on this machine, one of which dies in the middle; and what is said without Ray."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recall_helpers import indexed, shop
from test_extraction import Corner, pictures, reds

from interbert import cli
from interbert.cluster import check_place
from interbert.errors import InterbertError, UsageError
from interbert.recall.distributed import open_cluster_searcher
from interbert.recall.search import Question, open_searcher
from interbert.vision.extraction import extract_images
from interbert.workers import threads

NO_RAY = "the Ray tests do not run: there is no Ray (pip install 'interbert[ray]')"
HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason=NO_RAY)
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster whose first node has one processor."""
    from ray.cluster_utils import Cluster

    own = Path(__file__).parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_worker_niceness", "0")  # else a machine at work leaves it nothing
        patch.setenv("PYTHONPATH", os.pathsep.join([str(own), os.environ.get("PYTHONPATH", "")]))
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        patch.setenv("RAY_ADDRESS", made.address)
        yield made
        made.shutdown()


@pytest.fixture
def doomed(cluster: Any) -> Any:
    """A second node, to be killed by the test."""
    return cluster.add_node(num_cpus=1)


@needs_ray
def test_scores_are_those_of_one_machine_also_when_a_node_dies(
    cluster: Any, doomed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interbert.recall.search.STRIPE", 4)
    place = shop(tmp_path, 80)
    indexed(place)
    everything = Question(threshold=0)
    with threads(1):
        alone = open_searcher(place / "index")
        alone.memory = None
        wanted = {hit.id: hit.score for hit in alone.recall("a red", everything).hits}
    searcher = open_cluster_searcher("ray", place / "index")
    searcher.memory = None
    found: dict[str, float] = {}
    for at, early in enumerate(searcher.stream("a red", everything)):
        if at == 1:
            cluster.remove_node(doomed, allow_graceful=False)
        found |= {hit.id: hit.score for hit in early.hits}
    assert len(found) == 80
    assert found == wanted


@needs_ray
def test_regions_are_those_of_one_machine_also_when_a_process_is_killed(
    cluster: Any, doomed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interbert.cluster.AGAIN", 1)  # each time a process begins anew
    sources = pictures(tmp_path / "images", 40)
    report = extract_images(sources, Corner(killed_by=(20, 0, 0)), tmp_path / "many", on="ray", progress=False)
    assert report.failed == {"020": "the process that read it was killed; leave the picture out"}
    assert reds(tmp_path / "many") == [red for red in range(40) if red != 20]
    cluster.remove_node(doomed, allow_graceful=False)
    again = extract_images(sources, Corner(), tmp_path / "many", on="ray", progress=False)
    assert (again.done, again.already_there, reds(tmp_path / "many")[-1]) == (1, 39, 20)
    np.testing.assert_array_equal(np.sort(reds(tmp_path / "many")), np.arange(40))


@needs_ray
def test_a_file_of_topics_is_recalled_by_a_command(
    cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = shop(tmp_path, 6)
    indexed(place)
    (place / "topics.txt").write_text("a red\na dog\n")
    command = ["recall", place / "index", "--topics", place / "topics.txt", "--threshold", 0, "--json", "--quiet"]
    answers = []
    for more in (["--on", "ray"], []):
        (place / "index" / "scores.sqlite").unlink(missing_ok=True)
        capsys.readouterr()
        assert cli.run([*map(str, command), *more]) == 0
        answers.append(json.loads(capsys.readouterr().out)["answers"])
    for there, here in zip(*answers, strict=True):
        assert [item["id"] for item in there["items"]] == [item["id"] for item in here["items"]]
        assert [item["score"] for item in there["items"]] == pytest.approx([item["score"] for item in here["items"]])


@needs_ray
def test_what_the_work_says_comes_back_as_it_is(cluster: Any, tmp_path: Path) -> None:
    sources = pictures(tmp_path / "images", 2)
    with pytest.raises(InterbertError, match=r"^the weights are missing$"):
        extract_images(sources, Corner(broken=True), tmp_path / "out", on="ray", progress=False)


@needs_ray
def test_a_cluster_that_is_not_there_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = pictures(tmp_path / "images", 2)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(InterbertError, match="no cluster at '127.0.0.1:1' .*mend --on or RAY_ADDRESS"):
        extract_images(sources, Corner(), tmp_path / "out", on="ray", progress=False)


def test_another_place_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--on: got 'spark', wanted ray .* or ray://HOST:10001"):
        check_place("spark")


@pytest.mark.skipif(HAS_RAY, reason="Ray is there")
def test_without_ray_it_is_said_what_to_install() -> None:
    with pytest.raises(InterbertError, match=r"needs Ray .*pip install 'interbert\[ray\]'"):
        check_place("ray")
