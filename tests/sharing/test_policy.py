"""Which commands may be shared, and how each that may is kept tame."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import limits
from mesh.errors import PolicyError, UsageError
from mesh.sharing import confine, policy
from mesh.sharing.confine import Fence
from mesh.sharing.policy import permit, split_command


@pytest.fixture
def here(tmp_path: Path) -> Fence:
    project = tmp_path / "project"
    (project / "src").mkdir(parents=True)
    (project / "src" / "main.py").touch()
    (project / ".env").touch()
    (tmp_path / "outside").mkdir()
    (project / "way-out").symlink_to(tmp_path / "outside")
    (project / "self").symlink_to(project)
    return Fence(cwd=project)


def _permit(command, here, name="allowlist"):
    return permit(split_command(command), name, here)


ALLOWED = (
    "pwd|ls -la src|echo hi|cat src/main.py|cat -- src/main.py|cat -|head -n 5 src/main.py"
    "|head -3 x|head --bytes 10 x|wc -l src/main.py|pytest"
    "|pytest -x src/main.py::test_a -k 'a and b'|pytest --tb=short -q"
    "|ruff format --check|ruff rule E501|mypy --strict src"
    "|pytest -p no:cacheprovider -rA --maxfail=1 -n auto --cov=src --cov-report=term"
    "|pytest --lf -vv --durations 5 -W error|mypy -p src --warn-unused-ignores --pretty"
    "|mypy --config-file src/main.py --no-error-summary"
    "|git --version|python --version|node --version|cat '~/x'"
)


@pytest.mark.parametrize("command", ALLOWED.split("|"))
def test_what_reads_is_allowed_as_it_is(command, here):
    assert _permit(command, here) == split_command(command)


GIT_ALLOWED = (
    "git status|git status --short --branch|git diff|git diff HEAD~1..HEAD -- src/main.py"
    "|git diff --stat main..dev|git log --oneline -5|git log -p --format='%h; %s'"
    "|git log -L 1,2:x.py|git show HEAD|git show HEAD:src/main.py|git log --grep=~foo"
    "|git log --grep 'a|b'|git log -S needle|git diff -C -M --color-words|git log --author=id_x"
)


@pytest.mark.parametrize("command", GIT_ALLOWED.split("|g"))
def test_git_is_allowed_tame(command, here):
    command = command if command.startswith("git") else f"g{command}"
    arguments = _permit(command, here)
    given_arguments = split_command(command)
    assert arguments[:2] == ["git", "--no-pager"]
    settings = arguments[arguments.index("-c") : arguments.index(given_arguments[1])]
    for setting in ("core.pager=cat", "core.fsmonitor=false", "core.hooksPath=/dev/null"):
        assert setting in settings
    rest = arguments[2 + len(settings) :]
    if given_arguments[1] != "status":
        assert rest[1:3] == ["--no-ext-diff", "--no-textconv"]
        del rest[1:3]
    assert rest == given_arguments[1:]


def test_ruff_never_fixes_whatever_the_project_asks_for(here):
    assert _permit("ruff check src --select=E", here) == [
        *("ruff", "check", "--no-fix", "src", "--select=E")
    ]


def test_hash_of_a_credential_files_content_shows_nothing(here):
    """`git log --raw` tells such hashes; a commit is all they may name."""
    named = {
        "abcd": "abcd^{commit}",
        "abcd1234..ef": "abcd1234^{commit}..ef",
        "abcd..ef01": "abcd^{commit}..ef01^{commit}",
        "abcd...ef01": "abcd^{commit}...ef01^{commit}",
        "^abcd": "^abcd^{commit}",
        "v1^{commit}": "v1^{commit}",
        "abcd~2": "abcd~2",
        "feature-abcd": "feature-abcd",
        "main": "main",
    }
    for subcommand in ("show", "log", "diff"):
        for argument, made in named.items():
            assert permit(["git", subcommand, argument], "allowlist", here)[-1] == made


def test_git_branch_always_lists(here):
    for options in (
        [],
        ["-a"],
        ["-vv"],
        ["--merged", "main"],
        ["pattern"],
        ["--sort=-committerdate"],
    ):
        arguments = permit(["git", "branch", *options], "allowlist", here)
        assert arguments[arguments.index("branch") :] == ["branch", "--list", *options]
    arguments = _permit("git branch --show-current", here)
    assert arguments[-2:] == ["branch", "--show-current"]


REFUSED = (
    "rm -rf x|python x.py|bash -c ls|sh|env|curl x|./git status|/bin/cat x|GIT status"
    "|find . -delete|git|git push|git commit|git -c core.pager=x status|git -C /tmp status"
    "|git --git-dir=/x status|git --exec-path=. status|git -p log|git status -c x"
    "|git diff --output=x|git diff --outp=x|git diff --ext-diff|git diff --ext|git log --textconv"
    "|git diff --no-index a b|git log -O/etc/x|git show --show-signature|git diff --text"
    "|git log -a -p|git log --pathspec-from-file=x|git diff /etc/passwd /etc/hosts"
    "|git diff ../outside src|git diff way-out|git show HEAD:.env|git log -p -- .env"
    "|git log -L1,5:.env|git diff ':(glob)**/.env'|git show HEAD:sub/id_rsa|git branch -D x"
    "|git branch -m a b|git branch --edit-description|git branch --set-upstream-to=x"
    "|git branch -f a b|git branch -u x|git branch -C a b|git branch -c a"
    "|git branch --unset-upstream|cat /etc/passwd|cat ../outside/x|cat way-out/x|cat .env"
    "|cat -- .env|cat -n .env|head -n /etc/passwd|head -n 5 .env|wc --files0-from=x|wc --files0=x"
    "|wc .ssh/x|pytest /etc|pytest ../outside|pytest --basetemp=src|pytest --junitxml=x"
    "|pytest --pastebin=all|pytest -c/etc/passwd|pytest --rootdir=/etc|pytest @/etc/passwd"
    "|mypy @x|mypy --install-types|mypy --python-exec=x|mypy /etc|ruff|ruff check --fix"
    "|ruff check -o x|ruff check --output-file=x|ruff format|ruff clean|ruff check /etc/passwd"
    "|ruff check .env|ruff check @x|python --version x|nmap --version|pytest way-out"
    "|cat self/../outside/x|pytest -p evil|pytest -pevil|pytest -p|pytest -o addopts=--pdb"
    "|pytest --override-ini=log_file=x|pytest -c src/main.py|pytest --tx popen//python=x"
    "|pytest --cov-report=html:x|pytest --cov-config=x|pytest --basetem=x|pytest --trace-config"
    "|mypy --timing-stats x|mypy --cache-map a b c|mypy --line-checking-stats=x|mypy --junit-x=y"
    "|mypy --shadow-file a b|ruff check --config cache-dir='x'|ruff check --add-noqa"
    "|ruff check --config=src|ruff check --watch|ruff check --fix-only|git show HEAD^{tree}"
    "|git show abcd1234^{}|git show abcd1234^{blob}|git diff ab12^{object} HEAD"
)


@pytest.mark.parametrize("command", REFUSED.split("|"))
def test_what_could_write_run_or_read_elsewhere_is_refused(command, here):
    with pytest.raises(PolicyError) as caught:
        _permit(command, here)
    assert caught.value.code == "refused"


@pytest.mark.parametrize(
    "command",
    [
        *("git status; rm x", "a | b", "a > b", "a < b", "a && b", "a & b", "a\nb", "echo `id`"),
        *("echo $(id)", 'echo "$(id)"', 'echo "`id`"', "echo 'a' ; b", "echo \\\\; b"),
    ],
)
@pytest.mark.parametrize("name", ["allowlist", "any"])
def test_what_only_a_shell_can_do_is_refused_with_the_sign(command, name, here):
    with pytest.raises(PolicyError, match="no shell"):
        _permit(command, here, name)


def test_quoted_signs_are_text(here):
    command = "echo 'a; b' \"c | d > e & f\" g\\;h '$(id) `id`' \"\\`x\\`\" '\\'"
    assert _permit(command, here) == split_command(command)
    assert split_command("git log --format='%h | %s'")[-1] == "--format=%h | %s"


@pytest.mark.parametrize("command", ["", "   ", "echo 'open", "''", "a\0b", "echo \\"])
def test_what_cannot_be_split_is_a_usage_error(command):
    with pytest.raises(UsageError, match="command") as caught:
        split_command(command)
    assert caught.value.code == "usage"


def test_a_long_command_is_refused_naming_the_limit():
    with pytest.raises(UsageError, match=str(limits.command_chars_max)):
        split_command("x" * (limits.command_chars_max + 1))


def test_any_allows_everything_and_off_nothing(here):
    assert _permit("rm -rf x", here, "any") == ["rm", "-rf", "x"]
    with pytest.raises(PolicyError, match="IPC_SHARE_COMMAND=off"):
        _permit("pwd", here, "off")


def test_given_roots_and_the_state_directory_bound_what_is_read(here):
    narrow = Fence(cwd=here.cwd, roots=(here.cwd / "src",))
    assert _permit("cat src/main.py", narrow)
    with pytest.raises(PolicyError):
        _permit("cat notes.md", narrow)
    with pytest.raises(PolicyError):
        _permit("cat src/main.py", Fence(cwd=here.cwd, home=here.cwd / "src"))


@given(st.text(max_size=60))
def test_any_text_whatever_is_arguments_or_an_error(text):
    try:
        permit(split_command(text), "allowlist", Fence(cwd=Path("/")))
    except UsageError:
        return


def test_git_hides_every_kind_of_credential_file():
    hidden = policy._HIDING.read_text()
    for pattern in confine._CREDENTIAL_NAMES:
        assert f"\n{pattern} -diff\n" in hidden
    for directory in confine._CREDENTIAL_DIRECTORIES:
        assert f"\n**/{directory}/** -diff\n" in hidden
