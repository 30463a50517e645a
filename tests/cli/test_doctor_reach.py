"""`mesh doctor` on the nodes that are known: which are linked, which are out of reach, how long."""

from mesh.cli.doctor.nodes import SHOWN_MAX, View, examine_known
from mesh.driver.results import Reached, Status

STATUS = Status(None, None, "secret", "default", {}, {}, {}, "auto")
FAR, NEAR = "tcp://10.0.0.2:5", "tcp://10.0.0.1:4"


def view(*reached: Reached) -> View:
    return View(STATUS, (), reached)


def findings(*views: View) -> list[tuple[str, str]]:
    found = examine_known(views, said={NEAR})
    assert all(bool(f.mend) == (f.status == "warn") for f in found)
    return [(f.status, f.finding) for f in found]


def test_linked_nodes_are_named_with_their_agents():
    assert findings(view(Reached(FAR, "linked", ("alice", "bob")))) == [
        ("ok", f"{FAR} (alice, bob) is linked.")
    ]


def test_a_node_counts_by_the_best_that_any_of_this_host_knows_of_it():
    lost = view(Reached(FAR, "out of reach", failing_s=300.0))
    assert findings(lost) == [("warn", f"{FAR} is out of reach for 5 minutes.")]
    assert findings(lost, view(Reached(FAR, "linked"))) == [("ok", f"{FAR} is linked.")]
    assert findings(lost, view(Reached(FAR, "suspect"))) == [("warn", f"{FAR} is suspect.")]


def test_nodes_of_this_host_are_left_to_the_registry():
    assert findings(view(Reached(NEAR, "suspect"), Reached("ipc:///x", "linked"))) == []


def test_many_are_summed_up_those_lost_lately_first():
    lost = [Reached(f"tcp://10.0.1.{n}:1", "out of reach", failing_s=50.0 - n) for n in range(40)]
    found = findings(view(*lost))
    assert found[0] == ("warn", "tcp://10.0.1.39:1 is out of reach for 11 s.")
    assert found[-1] == ("warn", f"{40 - SHOWN_MAX} more addresses are out of reach.")
