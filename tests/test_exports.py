"""The public interface: its names, its types, and that nothing is loaded before it is used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mesh

PACKAGE = Path(mesh.__file__).parent


def test_the_types_name_what_is_exported() -> None:
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    places = {
        alias.name: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert places == mesh._PLACES
    assert sorted(mesh.__all__) == sorted(places)
    assert set(mesh.__all__) <= set(dir(mesh))


@pytest.mark.parametrize("name", mesh.__all__)
def test_each_name_can_be_had(name: str) -> None:
    assert getattr(mesh, name).__name__ == name


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mesh.nothing


@pytest.mark.parametrize(
    "code",
    [
        "import mesh; mesh.Config; mesh.UsageError; mesh.check_start",
        "import mcp_bridge.server",
        "import mesh.cli.main",
    ],
)
def test_no_node_is_loaded_before_one_is_needed(code: str) -> None:
    heavy = "{'zmq', 'zeroconf', 'nacl', 'mesh.core.node', 'mesh.driver.node'}"
    program = f"import sys\n{code}\nprint(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert found.stdout.decode().strip() == "[]"
