"""The checks are checked: each finds the fault that is planted for it, and says nothing about a sound project."""
import json
import shutil
import subprocess

import check_layout
import check_notebooks
import install_torch
import pipeline
import pytest
import readme


def notebook(path, *cells, tags=None, outputs=()):
    "Write a notebook of code cells; a cell that starts with `# ` and a capital is Markdown."
    made = []
    for i, source in enumerate(cells):
        if source[:2] == "# " and source[2:3].isupper():
            made.append(dict(cell_type="markdown", id=f"c{i}", metadata={}, source=source))
        else:
            made.append(dict(cell_type="code", id=f"c{i}", metadata={"tags": tags} if tags and not i else {}, source=source,
                             execution_count=None, outputs=list(outputs) if not i else []))
    path.parent.mkdir(parents=True, exist_ok=True)
    kernel = dict(display_name="python3", language="python", name="python3")
    path.write_text(json.dumps(dict(cells=made, metadata=dict(kernelspec=kernel), nbformat=4, nbformat_minor=5), indent=1, sort_keys=True) + "\n")


LIBRARY = ["00_types", "10_book.lob", "30_market.env", "33_market.graph", "40_agents.ppo", "70_eval.plots", "80_app.cli"]


@pytest.fixture
def project(tmp_path, root):
    "A sound little project with one module in each room."
    for name in LIBRARY:
        module = name.partition("_")[2]
        notebook(tmp_path/"nbs"/f"{name}.ipynb", f"# Title of {name}\n\n> What it is.", f"#| default_exp {module}", "#| export\ndef value(): return 1")
        path = tmp_path/"liquidity_game"/(module.replace(".", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("def value(): return 1\n")
        (path.parent/"__init__.py").touch()
    (tmp_path/"liquidity_game"/"__init__.py").write_text((root/"liquidity_game"/"__init__.py").read_text())
    for name in ("settings.ini", "pyproject.toml"): shutil.copy2(root/name, tmp_path)
    return tmp_path


def module(project, name): return project/"liquidity_game"/(name.replace(".", "/") + ".py")


def test_layout_of_a_sound_project(project):
    module(project, "market.env").write_text("from ..book.lob import value\nfrom ..types import value as v\nimport numpy as np, liquidity_game.book.lob\n")
    module(project, "market.graph").write_text("import torch\nfrom torch import nn")
    module(project, "agents.ppo").write_text("import torch")
    module(project, "eval.plots").write_text("import matplotlib.pyplot as plt")
    module(project, "app.cli").write_text("from liquidity_game.agents import ppo\nfrom ..eval.plots import value")
    notebook(project/"nbs"/"10_book.lob.ipynb", "#| default_exp book.lob", "import matplotlib.pyplot as plt\n%matplotlib inline\n!ls")
    assert check_layout.check(project) == []


@pytest.mark.parametrize("here, line, rule", [
    ("book.lob", "from ..market.env import value", "rule 1"),
    ("book.lob", "from liquidity_game.market.env import value", "rule 1"),
    ("book.lob", "import liquidity_game.market.env as e", "rule 1"),
    ("types", "from .book import lob", "rule 1"),
    ("types", "def f():\n    from .book.lob import value", "rule 1"),
    ("types", "import importlib\nimportlib.import_module('liquidity_game.book.lob')", "rule 1"),
    ("types", "import importlib\nimportlib.import_module('.book.lob', __package__)", "rule 1"),
    ("eval.plots", "from ..agents.ppo import value", "rule 2"),
    ("eval.plots", "from ..agents import ppo", "rule 2"),
    ("eval.plots", "from .. import agents", "rule 2"),
    ("market.env", "from liquidity_game.agents import ppo", "rule 2"),
    ("market.env", "import torch", "rule 4"),
    ("book.lob", "from torch import nn", "rule 4"),
    ("book.lob", "from safetensors.torch import save_file", "rule 4"),
    ("book.lob", "from safetensors import torch", "rule 4"),
    ("agents.ppo", "def f():\n    import matplotlib.pyplot as plt", "rule 4"),
    ("agents.ppo", "import zmq.asyncio", "rule 4"),
    ("app.cli", "import streamlit", "rule 4"),
    ("eval.plots", "from ..app.cli import value", "rule 5"),
    ("eval.plots", "from .. import app", "rule 5"),
    ("eval.plots", "import nbs.pipeline.train", "rule 5"),
    ("eval.plots", "def (", "cannot be read"),
])
def test_layout_finds(project, here, line, rule):
    module(project, here).write_text(line)
    found = check_layout.check(project)
    assert len(found) == 1 and rule in found[0] and str(module(project, here).relative_to(project)) in found[0]


@pytest.mark.parametrize("name, cells, rule", [
    ("10_book.lob", ["#| default_exp book.lob", "from liquidity_game.market.env import value"], "rule 1"),
    ("70_eval.plots", ["#| default_exp eval.plots", "from liquidity_game.agents.ppo import value"], "rule 2"),
    ("pipeline/train", ["from liquidity_game.app.cli import main"], "rule 5"),
    ("tutorials/first", ["%run ../pipeline/train.ipynb"], "rule 5"),
    ("10_book.lob", ["#| default_exp book.log"], "its name says book.lob"),
    ("10_market.more", ["#| default_exp market.more"], "two notebooks have the same number"),
])
def test_layout_finds_in_a_notebook(project, name, cells, rule):
    notebook(project/"nbs"/f"{name}.ipynb", *cells)
    found = check_layout.check(project)
    assert len(found) == 1 and rule in found[0]


def test_package_differences_are_found(project, tmp_path_factory):
    def fresh():
        check_notebooks.exported_copy(project, copy := tmp_path_factory.mktemp("copy"))
        return copy

    shutil.rmtree(project/"liquidity_game"/"book")
    copy = fresh()
    assert "liquidity_game/book/lob.py: missing; a notebook exports it" in check_notebooks.check_package(project, copy)
    shutil.copytree(copy/"liquidity_game", project/"liquidity_game", dirs_exist_ok=True)
    assert check_notebooks.check_package(project, fresh()) == []
    module(project, "types").write_text(module(project, "types").read_text().replace("return 1", "return 2"))
    module(project, "book.extra").write_text("")
    (project/"liquidity_game"/"_modidx.py").unlink()
    assert [line.partition(":")[0] for line in check_notebooks.check_package(project, fresh())] == [
        "liquidity_game/_modidx.py", "liquidity_game/book/extra.py", "liquidity_game/types.py"]


def test_unclean_notebooks_are_found(project, tmp_path):
    path = project/"nbs"/"00_types.ipynb"
    check_notebooks.exported_copy(project, copy := tmp_path/"copy1")
    shutil.copytree(copy/"nbs", project/"nbs", dirs_exist_ok=True)
    content = json.loads(path.read_text())
    content["cells"][2]["execution_count"] = 7
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    check_notebooks.exported_copy(project, copy := tmp_path/"copy2")
    assert check_notebooks.check_clean(project, copy) == ["nbs/00_types.ipynb: not clean; run nbdev_clean"]


def test_clean_keeps_the_parameters_tag(project, tmp_path):
    path = project/"nbs"/"pipeline"/"train.ipynb"
    notebook(path, "params, out = 1, 2", tags=["parameters"])
    check_notebooks.exported_copy(project, copy := tmp_path/"copy")
    assert json.loads((copy/path.relative_to(project)).read_text())["cells"][0]["metadata"]["tags"] == ["parameters"]


GOOD = 'params = "../params.yaml"\nout = "_scratch"\nseed = 0\nsmoke = True'
STREAM = dict(output_type="stream", name="stdout", text="1")


@pytest.mark.parametrize("cell, tags, outputs, fault", [
    (GOOD, ["parameters"], [], None),
    (GOOD, None, [], "0 cells are tagged"),
    (GOOD, ["parameters"], [STREAM], "holds outputs"),
    (GOOD + "\nextra = 1", ["parameters"], [], "and nothing else"),
    (GOOD + "\nprint(1)", ["parameters"], [], "and nothing else"),
    (GOOD.replace("seed", "sead"), ["parameters"], [], "and nothing else"),
])
def test_pipeline_notebooks(project, cell, tags, outputs, fault):
    notebook(project/"nbs"/"pipeline"/"train.ipynb", cell, "x = 1", tags=tags, outputs=outputs)
    found = check_notebooks.check_pipeline(project)
    assert len(found) == (fault is not None) and (fault is None or fault in found[0])


@pytest.mark.parametrize("cell, sound", [
    ("import os\n%matplotlib inline\nfrom sys import path", True), ("#| export\ndef f():\n    import os", True), ("#| eval: false\nimport os\nx = 1", True),
    ("import os\nx = 1", False), ("#| hide\nimport os\nprint(os)", False), ("def f():\n    import os", False)])
def test_cells_that_import(project, cell, sound):
    notebook(project/"nbs"/"70_eval.plots.ipynb", "#| default_exp eval.plots", cell)
    assert (check_notebooks.check_imports(project) == []) == sound


SOUND = dict(make_dataset=dict(cmd="papermill nbs/pipeline/make_dataset.ipynb -p out ../data/make_dataset", deps=["nbs/pipeline/make_dataset.ipynb"],
                               params=["make_dataset"], outs=["data/make_dataset/flow.parquet"], metrics=[{"data/make_dataset/metrics.json": {"cache": False}}]),
             train=dict(matrix=dict(item="${runs.items}"), cmd="papermill nbs/pipeline/train.ipynb -p out ../data/train/${item.item}",
                        deps=["nbs/pipeline/train.ipynb", "data/make_dataset/flow.parquet"], params=["train", "runs"],
                        outs=["data/train/${item.item}/curve.parquet"], metrics=[{"data/train/${item.item}/metrics.json": {"cache": False}}]),
             paper=dict(cmd="python scripts/build_paper.py", deps=["data/train"], outs=["paper/paper.pdf"]))


def with_pipeline(project, stages, code=()):
    "What is wrong with a pipeline of these stages, whose notebook `train` has these cells."
    for stage, cells in dict(make_dataset=(), train=code).items(): notebook(project/"nbs"/"pipeline"/f"{stage}.ipynb", GOOD, *cells)
    (project/"dvc.yaml").write_text(json.dumps(dict(stages=stages)))
    (project/"params.yaml").write_text("make_dataset: {}\ntrain: {}\nruns: {items: [a, b]}\n")
    return pipeline.check(project)


def test_sound_pipeline(project):
    assert with_pipeline(project, SOUND) == []
    assert [(r.stage, r.item) for r in pipeline.runs(project)] == [("make_dataset", None), ("train", "a"), ("train", "b"), ("paper", None)]
    assert pipeline.runs(project)[2].command == "papermill nbs/pipeline/train.ipynb -p out ../data/train/b"


@pytest.mark.parametrize("stage, change, fault", [
    ("train", dict(cmd="papermill nbs/pipeline/tran.ipynb"), "does not run nbs/pipeline/train.ipynb"),
    ("train", dict(deps=["data/make_dataset/flow.parquet"]), "does not depend on nbs/pipeline/train.ipynb"),
    ("train", dict(deps=["nbs/pipeline/train.ipynb", "data/nothing"]), "depends on data/nothing"),
    ("train", dict(params=["runs"]), "does not read its section"),
    ("train", dict(params=["train", "rums"]), "reads section 'rums'"),
    ("train", dict(outs=["data/training/x"]), "writes data/training/x, outside data/train/"),
    ("train", dict(outs=["data/train/x"]), "writes the same path for several items"),
    ("train", dict(metrics=[]), "has no metrics.json"),
    ("make_dataset", dict(deps=["nbs/pipeline/make_dataset.ipynb", "data/train/a"]), "depends on data/train/a"),
])
def test_pipeline_faults_are_found(project, stage, change, fault):
    found = with_pipeline(project, SOUND | {stage: SOUND[stage] | change})
    assert len(found) == 1 and fault in found[0]


CODE = ["import numpy as np\nfrom liquidity_game.eval.plots import value", "def f():\n    from liquidity_game.market import env\n%matplotlib inline"]
WHOLE = ["liquidity_game/eval/plots.py", "liquidity_game/market/env.py", "liquidity_game/book/lob.py", "liquidity_game/types.py"]


@pytest.mark.parametrize("deps, faults", [
    (WHOLE, []),
    (["liquidity_game/eval", "liquidity_game/market", "liquidity_game/book", "liquidity_game/types.py"], []),     # a folder stands for its modules
    (WHOLE[1:], ["train does not depend on liquidity_game/eval/plots.py"]),                                       # imported by a cell
    (WHOLE[:1] + WHOLE[2:], ["train does not depend on liquidity_game/market/env.py"]),                           # imported inside a function of a cell
    (WHOLE[:2] + WHOLE[3:], ["train does not depend on liquidity_game/book/lob.py"]),                             # imported by a module that a cell imports
    (WHOLE[:3], ["train does not depend on liquidity_game/types.py"]),                                            # and by a module of that one
    (WHOLE + ["liquidity_game/agents/ppo.py"], ["train depends on liquidity_game/agents/ppo.py, which its notebook does not import"]),
    (["liquidity_game/mark"] + WHOLE[:1] + WHOLE[2:], ["train depends on liquidity_game/mark, which neither", "train does not depend on liquidity_game/market/env.py"]),
    ([], [f"train does not depend on {path}" for path in sorted(WHOLE)])])
def test_stages_depend_on_the_code_that_they_run(project, deps, faults):
    module(project, "market.env").write_text("from ..book.lob import value")
    module(project, "book.lob").write_text("def f():\n    from ..types import value")
    stages = SOUND | {"train": SOUND["train"] | dict(deps=SOUND["train"]["deps"] + deps)}
    found = with_pipeline(project, stages, CODE)
    assert len(found) == len(faults) and all(any(fault in line for line in found) for fault in faults), found


def test_stages_and_notebooks_are_matched(project):
    notebook(project/"nbs"/"pipeline"/"other.ipynb", GOOD)
    renamed = {"make_datasets" if k == "make_dataset" else k: v for k, v in SOUND.items()}
    found = "\n".join(with_pipeline(project, renamed))
    for fault in ("other.ipynb: no stage", "make_datasets has no notebook", "make_datasets has no section"): assert fault in found


def test_readme_follows_the_index(tmp_path, capsys):
    notebook(tmp_path/"nbs"/"index.ipynb", "# Title\n\n> Summary.", "#| hide\nimport os", "#| eval: false\nf(1)", "# Text\n\nOne.\n\n\n\nTwo.")
    assert readme.main([], tmp_path) == 0 and readme.main(["--check"], tmp_path) == 0
    text = (tmp_path/"README.md").read_text()
    assert "# Title" in text and "f(1)" in text and "eval" not in text and "import os" not in text
    (tmp_path/"README.md").write_text(text + "more")
    assert readme.main(["--check"], tmp_path) == 1 and "run scripts/readme.py" in capsys.readouterr().out
    (tmp_path/"README.md").unlink()
    assert readme.main(["--check"], tmp_path) == 1


@pytest.mark.parametrize("have, build, enough", [
    (None, "cpu", False), ("2.13.0+cpu", "cpu", True), ("2.13.0", "cpu", True), ("2.12.0+cpu", "cpu", False),
    ("2.13.0+cpu", "cuda", False), ("2.13.0+cu130", "cuda", True), ("2.13.0", "cuda", True)])
def test_torch_is_installed_when_needed(have, build, enough): assert install_torch.satisfied(have, "2.13.0", build) == enough


def test_processor_build_of_torch_is_tried_first(monkeypatch, root):
    assert install_torch.pinned((root/"requirements.in").read_text()) == "2.13.0"
    tried = []
    monkeypatch.setattr(install_torch, "installed", lambda: None)
    monkeypatch.setattr(install_torch.subprocess, "run",
                        lambda c, **_: tried.append(c) or subprocess.CompletedProcess(c, len(tried) < 3, "", "no such version"))
    assert install_torch.main("cpu") == 0 and len(tried) == 3
    assert tried[0][-1] == "torch==2.13.0+cpu" and "--torch-backend=cpu" in tried[1] and tried[2][-1] == "torch==2.13.0"
    for command in install_torch.attempts("2.13.0", "cuda", "python"): assert command[-1] == "torch==2.13.0" and "--torch-backend=cpu" not in command


def test_torch_that_cannot_be_installed_is_an_error(monkeypatch, capsys):
    monkeypatch.setattr(install_torch, "installed", lambda: None)
    monkeypatch.setattr(install_torch.subprocess, "run", lambda c, **_: subprocess.CompletedProcess(c, 1, "", "no such version"))
    assert install_torch.main("cpu") == 1 and "no such version" in capsys.readouterr().err


def test_notebook_runner_reports(tmp_path):
    import test_notebooks
    notebook(tmp_path/"good.ipynb", "x = 1\nassert x == 1", "#| slow\n1/0", "#| eval: false\n1/0")
    notebook(tmp_path/"bad.ipynb", "x = {}", "x['missing']")
    notebook(tmp_path/"dead.ipynb", "import os; os._exit(3)")
    notebook(tmp_path/"group.ipynb", "raise ExceptionGroup('two faults', [ValueError('first'), KeyError('second')])")
    assert test_notebooks.failure(tmp_path/"good.ipynb") is None
    assert "ZeroDivisionError" in test_notebooks.failure(tmp_path/"good.ipynb", ["slow"])
    assert "KeyError" in test_notebooks.failure(tmp_path/"bad.ipynb")
    assert "two faults" in test_notebooks.failure(tmp_path/"group.ipynb")
    assert "exit code 3" in test_notebooks.failure(tmp_path/"dead.ipynb")
