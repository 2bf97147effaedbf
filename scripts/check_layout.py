"""Who may import whom: `check_layout.py` prints each import that breaks a rule of the layout, and exits with 1 if there is one.

1. A notebook imports only from lower-numbered notebooks.
2. `agents`, `sim`, `cards` and `eval` never import one another, and `market` imports none of them.
4. torch only in `agents` and `market.graph`, zmq only in `sim.bus`, matplotlib and seaborn only in `eval.plots`, `eval.market_plots` and `eval.report`, a web
   framework only in `app.web`; in notebook cells that are not exported anything may be drawn.
5. Nothing imports `app` or a pipeline notebook.

Rules 1, 2 and 5 hold for every cell of a notebook and for the exported modules, rule 4 for the modules. Relative imports, imports inside functions and
`importlib.import_module("...")` count as well.
"""
import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = "liquidity_game"
APART = {"agents", "sim", "cards", "eval"}
ALLOWED = [  # libraries, and the modules (or rooms) that may import them
    ({"torch", "torch_geometric", "safetensors.torch"}, {"agents", "market.graph"}),
    ({"zmq"}, {"sim.bus"}),
    ({"matplotlib", "seaborn"}, {"eval.plots", "eval.market_plots", "eval.report"}),
    ({"streamlit", "gradio", "dash", "flask", "fastapi", "starlette", "uvicorn", "aiohttp", "nicegui", "panel"}, {"app.web"}),
]


class Notebook(NamedTuple):
    path: Path
    number: tuple[int, str]  # 13 and "a" of 13a_room.module
    module: str              # room.module


def library_notebooks(root: Path) -> list[Notebook]:
    "The numbered notebooks of the package."
    found = []
    for path in sorted((root/"nbs").glob("*.ipynb")):
        if match := re.fullmatch(r"(\d+)([a-z]?)_(.+)", path.stem):
            found.append(Notebook(path, (int(match[1]), match[2]), match[3]))
    return found


def code_cells(path: Path) -> Iterator[str]:
    "The Python of each code cell, without lines that only IPython understands."
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and not source.startswith("%%"):
            source = re.sub(r"^(\s*)%run\s+(\S*/)?(pipeline)/.*$", rf"\1import {PACKAGE}.\3", source, flags=re.M)
            yield re.sub(r"^(\s*)[%!?].*$", r"\1pass", source, flags=re.M)


def imports(tree: ast.AST, package: str) -> Iterator[tuple[str, str | None]]:
    "Each import as (module, name taken from it or None), absolute; `package` is where relative ones start."
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names: yield alias.name, None
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[:len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join(base + ([node.module] if node.module else []))
            for alias in node.names: yield module, alias.name
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in ("import_module", "__import__"):
                name = node.args[0].value
                dots = len(name) - len(name.lstrip("."))
                base = package.split(".")[:len(package.split(".")) - dots + 1] if dots else []
                yield ".".join(base + [name.lstrip(".")]), None


def target(module: str, name: str | None, modules: set[str]) -> str | None:
    "What of the package an import reaches, as `room.module` or `room`; `None` if it reaches no part of it."
    known = modules | {m.split(".")[0] for m in modules} | {"app", "pipeline"}
    for candidate in (f"{module}.{name}", module):
        path = candidate.removeprefix(f"{PACKAGE}.").removeprefix("nbs.")
        if path != candidate and (path in known or candidate == module): return path
    return None


def forbidden_library(module: str, name: str | None, here: str) -> set[str] | None:
    "The modules that may import this library, if `here` is not among them."
    for libraries, places in ALLOWED:
        reached = {module, module.split(".")[0], f"{module}.{name}"}
        if reached & libraries and not {here, here.split(".")[0]} & places: return places
    return None


def broken(here: str, there: str, numbers: dict[str, tuple[int, str]]) -> str | None:
    "The rule that is broken when the module `here` imports `there`."
    room, other = here.split(".")[0], there.split(".")[0]
    if other == "app" and room != "app": return "nothing imports app (rule 5)"
    if other == "pipeline": return "nothing imports a pipeline notebook (rule 5)"
    if room in APART and other in APART and room != other: return f"{room} and {other} never import one another (rule 2)"
    if room == "market" and other in APART: return f"market never imports {other} (rule 2)"
    if here in numbers and there in numbers and numbers[there] >= numbers[here] and there != here:
        return "a notebook imports only from lower-numbered ones (rule 1)"
    return None


def parse(source: str, where: str, problems: list[str]) -> ast.AST:
    try: return ast.parse(source)
    except SyntaxError as error:
        problems.append(f"{where}: cannot be read: {error}")
        return ast.Module([], [])


def check(root: Path) -> list[str]:
    "The broken rules, one line each."
    problems, notebooks = [], library_notebooks(root)
    numbers = {n.module: n.number for n in notebooks}
    if len({n.number for n in notebooks}) < len(notebooks): problems.append("nbs: two notebooks have the same number")
    for n in notebooks:
        exported = [m[1] for cell in code_cells(n.path) for m in re.finditer(r"^#\|\s*default_exp\s+(\S+)", cell, re.M)]
        if exported != [n.module]: problems.append(f"{n.path.relative_to(root)}: exports to {exported}, its name says {n.module}")
    sources = [(n.path, n.module, cell) for n in notebooks for cell in code_cells(n.path)]
    for folder in ("pipeline", "tutorials", ""):
        for path in sorted((root/"nbs"/folder).glob("*.ipynb")):
            if path not in {n.path for n in notebooks}: sources += [(path, folder, cell) for cell in code_cells(path)]
    for path in sorted((root/PACKAGE).rglob("*.py")):
        parts = path.relative_to(root/PACKAGE).with_suffix("").parts
        if parts != ("_modidx",): sources.append((path, ".".join(parts), path.read_text(encoding="utf-8")))
    for path, here, source in sources:
        where, is_module = path.relative_to(root), path.suffix == ".py"
        package = ".".join([PACKAGE, *here.split(".")[:-1]]) if here else PACKAGE
        for module, name in imports(parse(source, str(where), problems), package):
            there = target(module, name, set(numbers))
            if there and (rule := broken(here, there, numbers)): problems.append(f"{where}: imports {PACKAGE}.{there}: {rule}")
            if is_module and (places := forbidden_library(module, name, here)):
                problems.append(f"{where}: imports {module}: only {', '.join(sorted(places))} may (rule 4)")
    return sorted(set(problems))


def main() -> int:
    problems = check(Path(__file__).resolve().parent.parent)
    print("\n".join(problems) or "layout: every import obeys the rules")
    return bool(problems)


if __name__ == "__main__": sys.exit(main())
