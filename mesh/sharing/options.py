"""Which options of pytest, mypy and ruff may be shared: those that say what to look at and how.

All others are refused, the unknown ones of plugins too: among them are some that write where they
are told, load modules, take other programs, or change settings that do the same. A long option is
matched whole, so no abbreviation gets past.
"""

import re
from collections.abc import Sequence
from typing import Final

from mesh.errors import PolicyError

_VALUE: Final = r"(=.*)?"
_PYTEST: Final = re.compile(
    r"-[vqxsl]+|-[kmrW].*|-n ?(\d+|auto|logical)?|-pno:.*"
    r"|--(verbose|quiet|exitfirst|maxfail|lf|last-failed|ff|failed-first|nf|new-first|lfnf"
    r"|last-failed-no-failures|sw|stepwise|stepwise-skip|tb|durations|durations-min|collect-only|co"
    r"|no-header|no-summary|color|code-highlight|capture|show-capture|strict|strict-markers"
    r"|strict-config|runxfail|showlocals|no-showlocals|full-trace|ignore|ignore-glob|deselect"
    r"|markers|fixtures|fixtures-per-test|disable-warnings|disable-pytest-warnings|setup-show"
    r"|setup-only|setup-plan|timeout|timeout-method|numprocesses|dist|cov-branch|no-cov|xfail-tb"
    r"|hypothesis-seed|hypothesis-show-statistics|hypothesis-profile|asyncio-mode|randomly-seed"
    r"|random-order-seed|doctest-modules|doctest-continue-on-failure|keep-duplicates|verbosity"
    r"|force-short-summary|help|version)"
    + _VALUE
    + r"|--cov(=[\w./-]*)?|--cov-report=term(-missing)?(:skip-covered)?",
    re.DOTALL,
)
_MYPY: Final = re.compile(
    r"-[vh]+|-[mpc].*"
    r"|--(no|strict|disallow|allow|check|warn|show|hide|implicit|ignore|follow|enable|disable|skip"
    r"|extra|local|always|untyped|explicit|namespace|color|error|fast)(-[a-z-]+)?"
    + _VALUE
    + r"|--(verbose|help|version|pretty|python-version|platform|exclude|exclude-gitignore"
    r"|incremental|config-file|module|package|command|output|raise-exceptions|tb|scripts-are-modules"
    r"|sqlite-cache)" + _VALUE,
    re.DOTALL,
)
_RUFF: Final = re.compile(
    r"-[nqsevh]+"
    r"|--(select|ignore|extend-select|extend-ignore|preview|no-preview|output-format|statistics"
    r"|diff|check|show-files|show-settings|exit-zero|exit-non-zero-on-fix|exit-non-zero-on-format"
    r"|no-cache|line-length|target-version|per-file-ignores|extend-per-file-ignores|exclude"
    r"|extend-exclude|force-exclude|no-force-exclude|respect-gitignore|no-respect-gitignore|quiet"
    r"|silent|verbose|isolated|unsafe-fixes|no-unsafe-fixes|no-fix|no-fix-only|fixable|unfixable"
    r"|extend-fixable|ignore-noqa|color|range|all|help|version)" + _VALUE,
    re.DOTALL,
)
_ALLOWED: Final = {"pytest": _PYTEST, "mypy": _MYPY, "ruff": _RUFF}


def check_options(program: str, arguments: Sequence[str]) -> None:
    """Check the options among the arguments of a program.

    Raises:
        PolicyError: names the first that may not be shared.
    """
    allowed = _ALLOWED[program]
    is_plugin = False
    for argument in arguments:
        if argument == "--":
            return
        option = f"-p{argument}" if is_plugin else argument
        is_plugin = not is_plugin and program == "pytest" and argument == "-p"
        if not is_plugin and option.startswith("-") and not allowed.fullmatch(option):
            shown = f"-p {argument}" if option != argument else argument.partition("=")[0]
            raise PolicyError(f"{program} with {shown} may not be shared.")
    if is_plugin:
        raise PolicyError(f"{program} -p must be followed by no:NAME.")
