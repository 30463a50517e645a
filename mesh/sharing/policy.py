"""Which commands may be run to share their output.

The command runs on the sender's own machine, asked for by a model that may be following somebody
else's message. So the list is of commands that read, each with the options that would make it write
elsewhere, run something else or read outside the roots taken away. A command line is split as a
POSIX shell would and no shell ever sees it; what a shell would act on is refused, as it would not
do here what its author expects.
"""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mesh import limits
from mesh.errors import PolicyError, UsageError
from mesh.sharing.confine import Fence, absolute, is_credential, locate
from mesh.sharing.options import check_options

_SHELL_SIGNS: Final = ";|<>&\n"
_HIDING: Final = Path(__file__).with_name("credentials.gitattributes")
_GIT_SETTINGS: Final = (
    "core.pager=cat",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    f"core.attributesFile={_HIDING}",  # shows credential files as if they were binary
    "log.showSignature=false",
    "gpg.program=false",
    "gpg.ssh.program=false",
    "gpg.x509.program=false",
    "protocol.allow=never",
)
_GIT_REFUSED: Final = (
    *("--output", "--ext-diff", "--textconv", "--no-index", "--exec-path", "--upload-pack"),
    *("--receive-pack", "--git-dir", "--work-tree", "--namespace", "--config-env", "--paginate"),
    *("--open-files-in-pager", "--show-signature", "--pathspec-from-file", "--super-prefix"),
    "--text",
)
_GIT_BRANCH_OPTIONS: Final = re.compile(
    r"-[arvil]+|--(all|remotes|list|verbose|show-current|ignore-case|no-column|no-color|no-abbrev)"
    r"|--(column|color|abbrev|sort|format|contains|no-contains|merged|no-merged|points-at)(=.*)?",
    re.DOTALL,
)
_VERSION_TOOLS: Final = frozenset(
    (
        *("python", "python3", "pip", "pip3", "uv", "uvx", "poetry", "pytest", "ruff", "mypy"),
        *("node", "npm", "npx", "pnpm", "yarn", "bun", "deno", "tsc", "cargo", "rustc", "go"),
        *("gcc", "g++", "clang", "make", "cmake", "ninja", "java", "javac", "mvn", "gradle"),
        *("dotnet", "ruby", "php", "perl", "docker", "kubectl", "git", "gh", "bash", "sqlite3"),
        *("ls", "cat", "head", "wc", "curl", "jq", "rg", "claude", "codex", "gemini", "mesh"),
    )
)
_HASH: Final = re.compile(r"(?:(?<=^)|(?<=\.\.)|(?<=^\^))([0-9a-fA-F]{4,64})(?=$|\.\.)")
_PEELED: Final = re.compile(r"\^\{(commit\}|/)")
_COUNT: Final = re.compile(r"[+-]?[0-9]{1,12}[A-Za-z]{0,3}")


def split_command(command: str) -> list[str]:
    """Split a command line as a POSIX shell would.

    Raises:
        UsageError: empty, too long, an open quotation, or something only a shell can do.
    """
    if len(command) > limits.command_chars_max:
        raise UsageError(f"command is longer than {limits.command_chars_max} characters.")
    sign = _shell_sign(command)
    if sign:
        raise PolicyError(
            f"The command has {sign!r}, but no shell runs it; share one plain command, and quote "
            "what is meant literally."
        )
    try:
        arguments = shlex.split(command)
    except ValueError as exc:
        raise UsageError(f"command cannot be split ({exc}).") from exc
    if not arguments or not arguments[0] or "\0" in command:
        raise UsageError("command must name a program.")
    return arguments


def permit(arguments: Sequence[str], policy: str, fence: Fence) -> list[str]:
    """Return the arguments to run, made safe where the command allows it.

    Raises:
        PolicyError: the policy does not allow the command.
    """
    if policy == "any":
        return list(arguments)
    if policy != "allowlist":
        raise PolicyError("Sharing commands is switched off (IPC_SHARE_COMMAND=off).")
    program, rest = arguments[0], list(arguments[1:])
    if program in _VERSION_TOOLS and rest == ["--version"]:
        return list(arguments)
    match program:
        case "git":
            return _permit_git(rest, fence)
        case "ls" | "pwd" | "echo":
            return list(arguments)
        case "cat" | "head" | "wc":
            _permit_reader(rest, fence, program=program)
            return list(arguments)
        case "pytest" | "mypy" | "ruff":
            return _permit_tool(rest, fence, program=program)
    raise PolicyError(
        f"{program} is not among the commands that may be shared: git status, diff, log, show and "
        "branch; ls, pwd, echo, cat, head, wc, pytest, ruff, mypy, and --version of common tools "
        "(IPC_SHARE_COMMAND=allowlist)."
    )


def _shell_sign(command: str) -> str:
    """Find what a shell would act on outside quotes; empty if there is nothing."""
    quote, position = "", 0
    text = command.strip()
    while position < len(text):
        character = text[position]
        if character == "\\" and quote != "'":
            position += 2
            continue
        if quote != "'" and (character == "`" or text.startswith("$(", position)):
            return "`" if character == "`" else "$("
        if not quote and character in _SHELL_SIGNS:
            return character
        if character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote = character
        position += 1
    return ""


def _permit_git(rest: list[str], fence: Fence) -> list[str]:
    if not rest or rest[0] not in ("status", "diff", "log", "show", "branch"):
        what = f"git {rest[0]}" if rest else "git alone"
        raise PolicyError(
            f"{what} may not be shared; these may: git status, diff, log, show, branch, --version, "
            "without options before that word."
        )
    subcommand, options = rest[0], rest[1:]
    for argument in options:
        _refuse_options(argument, _GIT_REFUSED, program=f"git {subcommand}")
        if argument.startswith(("-O", "-c")) or (argument == "-a" and subcommand != "branch"):
            raise PolicyError(f"git {subcommand} with {argument} may not be shared.")
    command = ["git", "--no-pager"]
    for setting in _GIT_SETTINGS:
        command += ["-c", setting]
    if subcommand == "branch":
        return [*command, "branch", *_listing(options)]
    _check_paths(options, fence)
    for argument in options:
        _check_object(argument, fence)
    if subcommand == "status":
        return [*command, "status", *options]
    named = [_commits_only(argument) for argument in options]
    return [*command, subcommand, "--no-ext-diff", "--no-textconv", *named]


def _commits_only(argument: str) -> str:
    """Let a hash name a commit: that of a file's content would show it without its name."""
    if "^{" in argument and not _PEELED.search(argument):
        raise PolicyError(f"git with {argument} may not be shared: it may name any object.")
    return _HASH.sub(r"\1^{commit}", argument)


def _listing(options: list[str]) -> list[str]:
    """Keep `git branch` to its forms that list; with `--list`, words are patterns."""
    for argument in options:
        if argument.startswith("-") and not _GIT_BRANCH_OPTIONS.fullmatch(argument):
            raise PolicyError(f"git branch with {argument} may not be shared, only its listing.")
    return options if "--show-current" in options else ["--list", *options]


def _check_object(argument: str, fence: Fence) -> None:
    """Refuse `HEAD:.env` and pathspecs such as `:(glob)**/.env`."""
    for part in re.split(r"[:()]", argument)[1:]:
        if part and is_credential(fence.cwd.absolute() / part.lstrip("/")):
            raise PolicyError(f"{argument} may hold credentials; such files are never shared.")


def _permit_reader(rest: list[str], fence: Fence, *, program: str) -> None:
    """Allow reading what `share_file` would."""
    arguments = iter(rest)
    is_only_files = False
    for argument in arguments:
        if argument == "--" and not is_only_files:
            is_only_files = True
        elif is_only_files or not argument.startswith("-") or argument == "-":
            if argument != "-":
                _locate(argument, fence)
        elif program == "head" and argument in ("-n", "-c", "--lines", "--bytes"):
            if not _COUNT.fullmatch(next(arguments, "0")):
                raise PolicyError(f"head {argument} must be followed by a number.")
        else:
            _refuse_options(argument, ("--files0-from",), program=program)


def _permit_tool(rest: list[str], fence: Fence, *, program: str) -> list[str]:
    if program == "ruff" and (not rest or rest[0] not in ("check", "format", "rule")):
        raise PolicyError("Of ruff only check, format --check and rule may be shared.")
    if rest[:1] == ["format"] and program == "ruff" and not {"--check", "--diff"} & set(rest):
        raise PolicyError("ruff format may be shared only with --check or --diff.")
    for argument in rest:
        if argument.startswith("@"):
            raise PolicyError(f"{program} with {argument} may not be shared: it reads arguments.")
    check_options(program, rest)
    _check_paths(rest, fence)
    # The project's own settings may ask for fixes; here nothing is changed.
    return (
        [program, "check", "--no-fix", *rest[1:]]
        if program == "ruff" and rest[0] == "check"
        else [program, *rest]
    )


def _refuse_options(argument: str, refused: Sequence[str], *, program: str) -> None:
    """Refuse long options, abbreviated ones too."""
    name = argument.partition("=")[0]
    if not name.startswith("--") or name == "--":
        return
    if any(option.startswith(name) for option in refused):
        raise PolicyError(f"{program} with {name} may not be shared.")


def _check_paths(arguments: Sequence[str], fence: Fence) -> None:
    """Refuse arguments that lead out of the roots, or to credentials.

    A word is a path if it is absolute, climbs or exists; any other may be a revision or a pattern,
    or the former name of a file.
    """
    for argument in arguments:
        word, is_value = _path_in(argument)
        if not word.strip() or "\0" in word:
            continue
        path = absolute(_literal(word, fence), cwd=fence.cwd)
        is_path = word.startswith("/") or ".." in Path(word).parts or _is_there(path)
        if is_path or (not is_value and is_credential(path, home=fence.home)):
            _locate(word, fence)


def _path_in(argument: str) -> tuple[str, bool]:
    """Return what in an argument may be a path, and whether it is the value of an option."""
    if argument.startswith("--"):
        return argument.partition("=")[2], True
    if argument.startswith("-"):
        return argument[2:], True
    return argument.partition("::")[0], False


def _locate(word: str, fence: Fence) -> None:
    locate(_literal(word, fence), fence)


def _literal(word: str, fence: Fence) -> str:
    """Keep `~` from being expanded, as no shell will."""
    return f"{fence.cwd.absolute()}/{word}" if word.startswith("~") else word


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True
