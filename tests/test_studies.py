"""`make repro STUDIES=...` sets the scale of the studies in params.yaml, and nothing else; and what that section may hold."""
import re
import subprocess

import check_layout
import pytest
import studies

from liquidity_game.config import load_params, override, section
from liquidity_game.types import ConfigError


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


@pytest.fixture(scope="module")
def section_of(root):
    "What the notebook makes of the section, some keys of it changed."
    cells = [cell for cell in check_layout.code_cells(root/"nbs"/"pipeline"/"studies.ipynb")]
    names = {}
    for cell in cells[1:1 + next(i for i, cell in enumerate(cells) if "class StudiesConfig" in cell)]: exec(cell, names)
    return lambda changes: section(names["StudiesConfig"], override(load_params(root/"params.yaml"), {f"studies.{key}": value for key, value in changes.items()}), "studies")


def test_the_section_is_read(section_of):
    cfg = section_of({})
    assert len(cfg.seeds["default"]) >= 3 and len(cfg.seeds["full"]) >= 10


@pytest.mark.parametrize("changes, part", [
    ({"scale": "large"}, "scale is 'large'"), ({"seeds": {"default": [0, 0]}}, "each once"), ({"seeds": {"default": [-1]}}, "from 0"), ({"level": 1.0}, "level is 1.0"),
    ({"budgets.pairs": 0}, "budgets.pairs is 0"), ({"resamples": 0}, "resamples is 0"), ({"variants.gat.study": "graphs"}, "study is 'graphs'"), ({"variants.gat.role": "noise"}, "role is 'noise'"),
    ({"variants.gat.budget": "long"}, "budget is 'long'"), ({"variants.sage.against": "nobody"}, "'nobody'"), ({"variants.sage.against": "sage"}, "'sage'"), ({"variants.sage.against": "fifo"}, "one study"),
    ({"variants.fifo.rules": ["twap"]}, "'twap'"), ({"variants.fifo.rules": []}, "rules is empty"), ({"variants.fee_1": {"study": "fees", "configuration": "multi_asset_gnn", "role": "arbitrageur", "label": "x", "rules": ["pair_threshold"]}}, "held against none"),
    ({"variants.gat": {"study": "encoder", "configuration": "multi_asset_gnn", "role": "maker", "label": "x", "stepz": 3}}, "unknown key 'stepz'")])
def test_a_wrong_section_is_refused(section_of, changes, part):
    with pytest.raises(ConfigError, match=re.escape(part)): section_of(changes)
