"""Where a session works, as others see it."""

from pathlib import Path

from mcp_bridge.place import branch_of, describe_place


def repository(path: Path, head: str) -> Path:
    (path / ".git").mkdir(parents=True)
    (path / ".git" / "HEAD").write_text(head)
    return path


def test_directory_and_branch_are_told(tmp_path: Path) -> None:
    inner = repository(tmp_path / "shop", "ref: refs/heads/feat/pay\n") / "src"
    inner.mkdir()
    assert describe_place(tmp_path / "shop") == "shop (feat/pay)"
    assert describe_place(inner) == "src (feat/pay)"


def test_a_worktree_has_its_own_branch(tmp_path: Path) -> None:
    real = tmp_path / "shop" / ".git" / "worktrees" / "w"
    real.mkdir(parents=True)
    (real / "HEAD").write_text("ref: refs/heads/fix\n")
    tree = tmp_path / "w"
    tree.mkdir()
    (tree / ".git").write_text(f"gitdir: {real}\n")
    assert branch_of(tree) == "fix"


def test_no_branch_is_no_trouble(tmp_path: Path) -> None:
    assert branch_of(repository(tmp_path / "a", "0123456789abcdef\n")) == ""
    assert branch_of(repository(tmp_path / "b", "\udcff".encode(errors="replace").decode())) == ""
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / ".git").write_text("gitdir: /nowhere\n")
    assert describe_place(tmp_path / "c") == "c"
    (tmp_path / "d" / ".git").mkdir(parents=True)
    assert branch_of(tmp_path / "d") == ""
