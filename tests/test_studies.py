"""`make repro STUDIES=...` sets the scale of the studies in params.yaml, and nothing else."""
import subprocess

import pytest
import studies

from liquidity_game.config import load_params


@pytest.fixture
def project(root, tmp_path):
    "A folder with the parameter file."
    (tmp_path/"params.yaml").write_bytes((root/"params.yaml").read_bytes())
    return tmp_path


def test_scale_is_all_that_changes(project):
    path = project/"params.yaml"
    before, params = path.read_bytes(), load_params(path)
    first = params["studies"]["scale"]
    other = next(scale for scale in params["studies"]["seeds"] if scale != first)
    assert studies.main([other], project) == 0
    params["studies"]["scale"] = other
    assert load_params(path) == params
    changed = [(a, b) for a, b in zip(before.splitlines(), path.read_bytes().splitlines(), strict=True) if a != b]
    assert len(changed) == 1 and b"#" in changed[0][1]
    assert studies.main([first], project) == 0
    assert path.read_bytes() == before


def test_a_scale_that_is_set_leaves_the_file_alone(project):
    path = project/"params.yaml"
    time = path.stat().st_mtime_ns
    assert studies.main([load_params(path)["studies"]["scale"]], project) == 0
    assert path.stat().st_mtime_ns == time


@pytest.mark.parametrize("arguments", [["large"], [""], ["Full"], [], ["default", "full"]])
def test_another_word_is_refused(project, capsys, arguments):
    before = (project/"params.yaml").read_bytes()
    assert studies.main(arguments, project) == 2
    assert (project/"params.yaml").read_bytes() == before
    assert capsys.readouterr().err.strip()


def test_make_hands_the_word_on_before_anything_runs(root):
    lines = lambda *words: subprocess.run(["make", "-n", "repro", "-o", "setup", *words], cwd=root, capture_output=True, text=True, check=True).stdout
    with_word = lines("STUDIES=full")
    assert with_word.index('scripts/studies.py "full"') < with_word.index("dvc repro")
    assert 'test -z ""' in lines()
