"""Seconds, no computation: the repository is consistent. `make check` runs this file alone."""
import json
import re
import subprocess
import sys

import check_layout
import check_notebooks
import pipeline
import pytest
import readme


@pytest.fixture(scope="module")
def copy(root, tmp_path_factory):
    "The notebooks, exported and cleaned in a folder of their own."
    folder = tmp_path_factory.mktemp("copy")
    check_notebooks.exported_copy(root, folder)
    return folder


def test_imports_obey_the_layout(root): assert not check_layout.check(root)

def test_package_is_what_the_notebooks_export(root, copy): assert not check_notebooks.check_package(root, copy)

def test_notebooks_are_clean(root, copy): assert not check_notebooks.check_clean(root, copy)

def test_pipeline_notebooks_hold_parameters_and_no_outputs(root): assert not check_notebooks.check_pipeline(root)

def test_imports_stand_in_cells_of_their_own(root): assert not check_notebooks.check_imports(root)

def test_readme_is_the_index_notebook(root): assert readme.main(["--check"], root) == 0

def test_pipeline_files_agree(root): assert not pipeline.check(root)


def test_saved_outputs_hold_no_errors(root):
    for path in check_notebooks.notebooks(root):
        for cell in json.loads((root/path).read_text())["cells"]:
            for output in cell.get("outputs", []):
                text = "".join(output.get("text", ""))
                assert output["output_type"] != "error" and "Exception Group Traceback" not in text, f"{path}: a saved output is an error"


def test_saved_outputs_name_no_folder_of_a_machine(root):
    for path in check_notebooks.notebooks(root):
        for cell in json.loads((root/path).read_text())["cells"]:
            found = re.search(rf"{re.escape(str(root))}/|/(?:home|Users|root|tmp|var)/[^\\\"' ]*", json.dumps(cell.get("outputs", [])))
            assert not found, f"{path}: a saved output names {found[0]}"


def test_book_loads_no_heavy_library():
    code = "import sys, liquidity_game.book.lob; print(sorted({'torch', 'zmq', 'matplotlib', 'seaborn', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_requirements_are_pinned(root):
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    def requirements(name):
        lines = [line.partition("#")[0].strip() for line in (root/name).read_text().splitlines()]
        return {canonicalize_name(r.name): r for r in map(Requirement, filter(None, lines))}

    asked, pinned = requirements("requirements.in"), requirements("requirements.txt")
    assert all(re.fullmatch(r"==[^*]+", str(r.specifier)) for r in pinned.values())
    assert not {"torch", "uv", "pip", "liquidity-game"} & pinned.keys()
    for name, requirement in asked.items():
        if name == "torch": continue
        version = str(pinned[name].specifier).removeprefix("==")
        assert requirement.specifier.contains(version), f"{requirement} is pinned to {version}"


def test_make_help_lists_every_target(root):
    targets = re.search(r"^\.PHONY: (.*)$", (root/"Makefile").read_text(), re.M)[1].split()
    text = subprocess.run(["make", "-s"], cwd=root, capture_output=True, text=True, check=True).stdout
    assert [line.split()[0] for line in text.splitlines()[1:]] == targets
    assert subprocess.run(["make", "TORCH=gpu"], cwd=root, capture_output=True).returncode == 2


def test_continuous_integration_runs_make_test(root):
    lines = [line for line in (root/".ci"/"run").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[-1] == "exec make test VENV=.venv-ci </dev/null"
    assert (root/".ci"/"run").stat().st_mode & 0o111
