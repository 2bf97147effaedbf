"""The pipeline notebooks with tiny settings, as `make smoke` runs them, and the runner itself."""
import subprocess
import sys

import pipeline
import smoke
from execnb.nbio import mk_cell, new_nb, write_nb


def contents(root):
    "Size and time of every file that a real run writes."
    files = [p for folder in ("data", "paper") for p in (root/folder).rglob("*")] + [root/"dvc.lock"]
    return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in files if p.is_file()}


def test_pipeline_notebooks_run(root, tmp_path):
    before = contents(root)
    run = subprocess.run([sys.executable, root/"scripts"/"smoke.py", tmp_path], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert run.returncode == 0, run.stdout + run.stderr
    assert contents(root) == before, "a smoke run touched real outputs"
    for done in pipeline.runs(root):
        if done.stage == "paper": continue
        folder = tmp_path/"data"/done.stage/(done.item or "")
        assert (folder/"metrics.json").stat().st_size > 2, f"{done.stage} wrote no metrics"


def project(folder, *cells, tags=("parameters",)):
    "A project with one pipeline notebook, whose first cell holds the parameters."
    first = mk_cell("params, out, seed, smoke = None, None, 1, False", "code")
    first.metadata["tags"] = list(tags)
    (folder/"nbs"/"pipeline").mkdir(parents=True)
    write_nb(new_nb([first, *(mk_cell(c, "code") for c in cells)]), folder/"nbs"/"pipeline"/"one.ipynb")
    (folder/"params.yaml").write_text("one: {items: [a, b]}\n")
    (folder/"dvc.yaml").write_text("stages:\n  one:\n    matrix: {item: '${one.items}'}\n    cmd: papermill x ${item.item}\n")
    return folder


def test_runner_passes_parameters_and_starts_each_notebook_afresh(tmp_path, capsys):
    root = project(tmp_path/"p", "from pathlib import Path\nassert smoke is True and seed == 0 and 'seen' not in globals()\nseen = 1",
                   "Path(out).mkdir(parents=True); (Path(out)/'where').write_text(str(Path.cwd()))")
    assert smoke.smoke(root, tmp_path/"scratch") == 0
    assert [(tmp_path/"scratch"/"data"/"one"/item/"where").read_text() for item in "ab"] == [str(root/"nbs")] * 2
    assert "[2/2] one@b" in capsys.readouterr().out


def test_runner_stops_at_the_first_error(tmp_path, capsys):
    assert smoke.smoke(project(tmp_path/"p", "1/0"), tmp_path/"scratch") == 1
    captured = capsys.readouterr()
    assert "ZeroDivisionError" in captured.err and "[1/2] one@a" in captured.out and "[2/2]" not in captured.out


def test_runner_refuses_a_notebook_without_the_tag(tmp_path, capsys):
    assert smoke.smoke(project(tmp_path/"p", "x = 1", tags=()), tmp_path/"scratch") == 1
    assert "0 cells are tagged parameters" in capsys.readouterr().err
