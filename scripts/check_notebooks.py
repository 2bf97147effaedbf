"""The notebooks are the source: `check_notebooks.py` prints where the repository and its notebooks disagree, and exits with 1 if they do.

* The package is what the notebooks export, file by file, `_modidx.py` included.
* Notebooks are clean: `nbdev_clean` changes nothing.
* A pipeline notebook holds no outputs and exactly one cell tagged `parameters` that sets `params, out, seed, smoke` and nothing else. (Without the tag papermill
  injects its values before the defaults, every parameter is ignored, and it exits with 0.)
* A cell of a library notebook that imports does nothing else, unless it is exported: nbdev runs every importing cell when it makes the documentation, and the
  cells before it are not run.

Both commands run in a copy; nothing in the repository changes.
"""
import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = "liquidity_game"
PARAMETERS = {"params", "out", "seed", "smoke"}


def notebooks(root: Path) -> list[Path]:
    "All notebooks as nbdev finds them."
    paths = [p.relative_to(root) for p in (root/"nbs").rglob("*.ipynb")]
    return sorted(p for p in paths if not any(part[0] in "._" for part in p.parts))


def exported_copy(root: Path, copy: Path):
    "A copy of the notebooks, exported and cleaned."
    for path in notebooks(root):
        (copy/path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root/path, copy/path)
    for name in ("settings.ini", "pyproject.toml"): shutil.copy2(root/name, copy/name)
    (copy/PACKAGE).mkdir()
    shutil.copy2(root/PACKAGE/"__init__.py", copy/PACKAGE)
    code = "from nbdev.doclinks import nbdev_export; from nbdev.clean import nbdev_clean; nbdev_export(); nbdev_clean()"
    env = {k: v for k, v in os.environ.items() if k not in ("IN_TEST", "PYTHONPATH")}
    subprocess.run([sys.executable, "-c", code], cwd=copy, env=env, check=True, stdout=subprocess.DEVNULL)


def check_package(root: Path, copy: Path) -> list[str]:
    "Differences between the package and the exported copy."
    here, there = ({p.relative_to(r): p.read_bytes() for p in (r/PACKAGE).rglob("*.py")} for r in (root, copy))
    problems = [f"{p}: no notebook exports it" for p in here.keys() - there.keys()]
    problems += [f"{p}: missing; a notebook exports it" for p in there.keys() - here.keys()]
    problems += [f"{p}: differs from what the notebooks export" for p in here.keys() & there.keys() if here[p] != there[p]]
    return sorted(problems)


def check_clean(root: Path, copy: Path) -> list[str]:
    "Notebooks that `nbdev_clean` changed in the copy."
    return [f"{p}: not clean; run nbdev_clean" for p in notebooks(root) if (root/p).read_bytes() != (copy/p).read_bytes()]


def check_pipeline(root: Path) -> list[str]:
    "Pipeline notebooks with outputs, or with parameters that papermill would not see."
    problems = []
    for path in sorted((root/"nbs"/"pipeline").glob("*.ipynb")):
        where, cells = path.relative_to(root), json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = [c for c in cells if c["cell_type"] == "code"]
        if any(c["outputs"] or c["execution_count"] for c in code): problems.append(f"{where}: holds outputs")
        tagged = ["".join(c["source"]) for c in code if "parameters" in c["metadata"].get("tags", [])]
        if len(tagged) != 1:
            problems.append(f"{where}: {len(tagged)} cells are tagged parameters; one is")
            continue
        statements = ast.parse(tagged[0]).body
        names = [t.id for s in statements if isinstance(s, ast.Assign) for t in s.targets if isinstance(t, ast.Name)]
        if sorted(names) != sorted(PARAMETERS) or len(statements) != len(names):
            problems.append(f"{where}: the parameters cell sets {names}; it sets {sorted(PARAMETERS)}, one a line, and nothing else")
    return problems


def check_imports(root: Path) -> list[str]:
    "Cells that import and do something else."
    problems = []
    for path in notebooks(root):
        if "pipeline" in path.parts: continue
        for cell in json.loads((root/path).read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] != "code" or re.search(r"^#\|\s*(export|exporti|exports|eval:\s*false)\b", source, re.M): continue
            try: tree = ast.parse(re.sub(r"^(\s*)[%!?].*$", r"\1pass", source, flags=re.M))
            except SyntaxError: continue
            importing = [n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))]
            if importing and not all(isinstance(n, (ast.Import, ast.ImportFrom, ast.Pass)) for n in tree.body):
                problems.append(f"{path}: cell {cell.get('id')} imports and does something else")
    return problems


def check(root: Path) -> list[str]:
    "Everything that is wrong, one line each."
    with tempfile.TemporaryDirectory() as folder:
        exported_copy(root, Path(folder))
        return check_package(root, Path(folder)) + check_clean(root, Path(folder)) + check_pipeline(root) + check_imports(root)


def main() -> int:
    problems = check(Path(__file__).resolve().parent.parent)
    print("\n".join(problems) or "notebooks: exported and clean")
    return bool(problems)


if __name__ == "__main__": sys.exit(main())
