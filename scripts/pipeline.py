"""dvc.yaml as plain data: the stages in order, and where it disagrees with the notebooks, `params.yaml` and the folders."""
import re
from pathlib import Path
from typing import Any, NamedTuple

import check_layout
from ruamel.yaml import YAML


class Run(NamedTuple):
    stage: str        # name in dvc.yaml
    item: str | None  # of a matrix stage
    command: str      # as dvc runs it, matrix item filled in
    definition: dict  # the stage's mapping in dvc.yaml


def read(path: Path) -> dict:
    "A YAML 1.2 file."
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def lookup(params: dict, text: Any) -> Any:
    "The value of `${a.b}`; anything else is itself."
    match = re.fullmatch(r"\$\{([\w.]+)\}", text) if isinstance(text, str) else None
    for key in match[1].split(".") if match else (): params = params[key]
    return params if match else text


def runs(root: Path) -> list[Run]:
    "Everything `dvc repro` runs, in the order of dvc.yaml."
    params, found = read(root/"params.yaml"), []
    for stage, definition in read(root/"dvc.yaml")["stages"].items():
        items = lookup(params, definition["matrix"]["item"]) if "matrix" in definition else [None]
        for item in items:
            command = " ".join(str(definition["cmd"]).split())
            found.append(Run(stage, item, command.replace("${item.item}", str(item)).replace("${item}", str(item)), definition))
    return found


def notebook(root: Path, stage: str) -> Path:
    "Where the notebook of a stage stands."
    return root/"nbs"/"pipeline"/f"{stage}.ipynb"


def paths(entries: list | None) -> list[str]:
    "The paths of a list of deps, outs, metrics or plots."
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries or []]


def package_imports(root: Path, sources: list[str], package: str = "") -> set[str]:
    "The modules of the package, as paths in it without `.py`, that these sources import; `package` is where relative imports start."
    modules = {".".join(p.relative_to(root/check_layout.PACKAGE).with_suffix("").parts) for p in (root/check_layout.PACKAGE).rglob("*.py") if p.stem not in ("__init__", "_modidx")}
    places = ".".join(filter(None, (check_layout.PACKAGE, package)))
    found = {check_layout.target(module, name, modules) for source in sources for module, name in check_layout.imports(check_layout.parse(source, "", []), places)}
    return {module.replace(".", "/") for module in found & modules}


def reached(root: Path, stage: str) -> set[str]:
    "Files of the package that the notebook of a stage imports, and all that these import."
    left, found = package_imports(root, list(check_layout.code_cells(notebook(root, stage)))), set()
    while left:
        found.add(module := left.pop())
        source = (root/check_layout.PACKAGE/f"{module}.py").read_text(encoding="utf-8")
        left |= package_imports(root, [source], ".".join(module.split("/")[:-1])) - found
    return {f"{check_layout.PACKAGE}/{module}.py" for module in found}


def check_code(root: Path, stage: str, definition: dict) -> list[str]:
    """Where the dependencies of a stage and the code that its notebook runs differ: a module that is imported but not depended on (the stage would not run again
    when it changes), and one that is named but not imported (it would run again for nothing). A folder stands for all its modules."""
    deps, wanted = paths(definition.get("deps")), reached(root, stage)
    problems = [f"dvc.yaml: stage {stage} does not depend on {path}, which its notebook imports" for path in sorted(wanted)
                if not any(path == dep or path.startswith(f"{dep}/") for dep in deps)]
    return problems + [f"dvc.yaml: stage {stage} depends on {dep}, which its notebook does not import" for dep in deps
                       if dep.startswith(f"{check_layout.PACKAGE}/") and (root/dep).exists() and not any(path == dep or path.startswith(f"{dep}/") for path in wanted)]


def check(root: Path) -> list[str]:
    """What is inconsistent, one line each.

    One word in four places: stage name = notebook stem = section of params.yaml = folder under data/ (stage `paper` has no notebook). What a stage reads
    comes from an earlier stage or stands in the repository, every module it depends on exists, and it depends on every module that its notebook runs.
    """
    params, stages = read(root/"params.yaml"), read(root/"dvc.yaml")["stages"]
    stems = {p.stem for p in (root/"nbs"/"pipeline").glob("*.ipynb")}
    with_notebook = {s for s in stages if s != "paper"}
    problems = [f"nbs/pipeline/{s}.ipynb: no stage of dvc.yaml has this name" for s in stems - with_notebook]
    problems += [f"dvc.yaml: stage {s} has no notebook nbs/pipeline/{s}.ipynb" for s in with_notebook - stems]
    problems += [f"dvc.yaml: stage {s} has no section in params.yaml" for s in with_notebook - params.keys()]
    written: list[str] = []
    for stage, definition in stages.items():
        if stage in with_notebook: problems += check_stage(stage, definition)
        if stage in with_notebook & stems: problems += check_code(root, stage, definition)
        problems += [f"dvc.yaml: stage {stage} reads section {s!r}, which params.yaml has not"
                     for s in map(str, paths(definition.get("params"))) if s.split(".")[0] not in params]
        for dep in paths(definition.get("deps")):
            made = any(dep == w or dep.startswith(f"{w}/") or w.startswith(f"{dep}/") for w in written)
            if not made and not (root/dep).exists():
                problems.append(f"dvc.yaml: stage {stage} depends on {dep}, which neither exists nor is written by an earlier stage")
        for kind in ("outs", "metrics", "plots"): written += [p.split("/${")[0] for p in paths(definition.get(kind))]
    return problems


def check_stage(stage: str, definition: dict) -> list[str]:
    "What is inconsistent within one stage that has a notebook."
    problems, command = [], str(definition["cmd"])
    source, folder = f"nbs/pipeline/{stage}.ipynb", f"data/{stage}"
    if source not in command: problems.append(f"dvc.yaml: stage {stage} does not run {source}")
    if source not in paths(definition.get("deps")): problems.append(f"dvc.yaml: stage {stage} does not depend on {source}")
    if stage not in paths(definition.get("params")): problems.append(f"dvc.yaml: stage {stage} does not read its section of params.yaml")
    written = [p for kind in ("outs", "metrics", "plots") for p in paths(definition.get(kind))]
    own = [p for p in written if p == folder or p.startswith(f"{folder}/")]
    if not own: problems.append(f"dvc.yaml: stage {stage} writes nothing under {folder}/")
    problems += [f"dvc.yaml: stage {stage} writes {p}, outside {folder}/" for p in written if p not in own and not p.startswith("paper/generated")]
    if "matrix" in definition and not all("${item" in p for p in own):
        problems.append(f"dvc.yaml: matrix stage {stage} writes the same path for several items")
    if not any(Path(p).name == "metrics.json" for p in paths(definition.get("metrics"))):
        problems.append(f"dvc.yaml: stage {stage} has no metrics.json")
    return problems
