"""The house itself: layers, public names, documents."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import yue

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "yue").rglob("*.py"))


def test_imports_point_downward_only() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "4 kept, 0 broken" in done.stdout


def test_every_module_has_its_layer() -> None:
    config = (ROOT / "pyproject.toml").read_text()
    for source in SOURCES:
        name = source.relative_to(ROOT / "src" / "yue").parts[0].removesuffix(".py")
        assert name == "__init__" or f"yue.{name}" in config, f"{name} has no layer"


def test_public_names() -> None:
    assert set(yue.__all__) == {
        "Audio", "CapacityError", "Codes", "ComposeOptions", "Draft", "Interrupted", "Lyrics",
        "ModelSpec", "Reference", "RenderOptions", "Section", "Song", "Vocabulary", "Yue",
        "YueError", "load", "parse",
    }
    assert set(yue._HOMES) == set(yue.__all__)
    for name in yue.__all__:
        assert getattr(yue, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'sin'"):
        yue.sin


def test_importing_yue_imports_nothing_heavy() -> None:
    code = "import sys, yue; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_public_things_are_documented(source: Path) -> None:
    tree = ast.parse(source.read_text())
    assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{source.name}: {node.name}"


def test_numbers_of_the_token_format_have_one_home() -> None:
    """No token id outside vocab.py."""
    for source in SOURCES:
        if source.name == "vocab.py":
            continue
        found = re.findall(r"\b(?:3200\d|3201\d|45_?334|46_?358|83_?7\d\d)\b", source.read_text())
        assert not found, f"{source.name}: {found}"


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    code = "\n".join(blocks("README.md", "python"))
    assert "yue.load" in code
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "song.flac").stat().st_size > 10_000


@pytest.mark.slow
def test_the_commands_of_the_readme_run(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    commands = [
        line.removeprefix("$ ")
        for block in blocks("README.md", "console")
        for line in block.splitlines()
        if line.startswith("$ yue")
    ]
    assert len(commands) >= 5
    scripts = Path(sys.executable).parent
    for command in commands:
        done = subprocess.run(
            f"{scripts}/{command}", shell=True, cwd=tmp_path, capture_output=True, text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"


def test_the_documents_are_finished() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        assert not re.findall(r"@[A-Z0-9]+@|TODO|FIXME", document.read_text()), document.name


def test_local_links_of_the_documents_exist() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"
