"""The documentation site in `_docs/`, without Quarto: `build_docs.py`.

1. nbdev's `proc_nbs` turns each library notebook into a page: directives and hidden cells go, exported code becomes its signature (`show_doc`), names in
   backticks become links. Saved outputs are shown as they are; the tests run every notebook, so they are what the code prints.
2. This script turns the pages from nbdev's dialect into MyST and adds the executed pipeline notebooks (`data/notebooks/`) as results and an index of names.
3. Sphinx, MyST-NB and the theme furo make the site, with search and with mathematics that needs no network.
"""
import ast
import os
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pipeline
from nbformat.v4 import new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parent.parent
SHOW_DOC = re.compile(r"^show_doc\((.+)\)\s*$", re.M)
CSS = """\
.content { width: min(60em, 100vw - 32em); }
.sidebar-drawer { width: calc(50% - 33em); }
@media (max-width: 82em) { .content { width: min(60em, 100vw - 17em); } }
@media (max-width: 63em) { .content { width: 100%; } .sidebar-drawer { width: 15em; } }
.api-source { float: right; font-size: smaller; margin-top: -2.4rem; }
div.highlight pre { font-size: 0.78rem; }
div.cell_output img, div.cell_output svg { max-width: 100%; height: auto; }
div.cell_output table { font-size: 0.82rem; width: auto; margin: 0.6rem 0 1.4rem; }
div.cell_output table :is(td, th) { padding: 0.15rem 0.8rem 0.15rem 0; white-space: nowrap; text-align: left; }
div.cell_output table caption { caption-side: top; text-align: left; padding-bottom: 0.3rem; }
div.cell details.admonition.hide { background: none; border: none; box-shadow: none; margin: 0.4rem 0; padding: 0; }
div.cell details.admonition.hide summary, div.cell details.admonition.hide summary p {
  background: none !important; border: none; color: var(--color-foreground-muted); font-size: 0.75rem; margin: 0; padding: 0; }
div.cell details.admonition.hide summary::before, div.cell details.admonition.hide summary p::before { display: none; }
"""
ROOMS = {"0": "Foundations", "1": "The order book", "2": "Flow", "3": "The market", "4": "Agents", "5": "Simulation", "6": "Cards", "7": "Evaluation",
         "8": "Applications"}


def definitions(source: str) -> dict[str, int]:
    "Line of each class, function and method of an exported module, by the name that `show_doc` uses."
    found = {}
    for node in ast.parse(source).body:
        for inner in [node, *getattr(node, "body", [])]:
            if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                found[inner.name if inner is node else f"{node.name}.{inner.name}"] = inner.lineno
    return found


def anchor(module: str, name: str) -> str:
    "The id of a name on the whole site. Ids have no case, and a class may differ from a function only by its capital."
    return f"{module}.{name}".lower() + ("-class" if is_class(name) else "")


def is_class(name: str) -> bool: return name.rpartition(".")[2][0].isupper()


def signature(source: str, name: str) -> str:
    "The first lines of a definition, for what `show_doc` cannot show."
    for node in ast.walk(ast.parse(source)):
        if getattr(node, "name", None) == name.rpartition(".")[2]:
            node.body, node.decorator_list = [ast.Expr(ast.Constant(ast.get_docstring(node) or ...))], []
            return ast.unparse(node)
    return name


def fields(source: str, name: str) -> str:
    "The head of a class and its fields with their comments; empty if it has none."
    for node in ast.parse(source).body if source else []:
        if isinstance(node, ast.ClassDef) and node.name == name:
            lines = source.splitlines()
            shown = [lines[n.lineno - 1:n.end_lineno] for n in node.body if isinstance(n, ast.AnnAssign)]
            return "\n".join([lines[node.lineno - 1], *sum(shown, [])]) if shown else ""
    return ""


def api_cell(cell: dict, module: str, source: str = "") -> dict:
    "A `show_doc` cell as Markdown: target, heading, signature, docstring."
    text = "".join(output["data"].get("text/markdown", "") for output in cell.outputs if "data" in output)
    text = re.sub(r"\A---\s*", "", text.strip())
    name = SHOW_DOC.search(cell.source)[1].strip()
    if not text: text = f"### {name}\n\n```python\n{signature(source, name)}\n```"
    text = re.sub(r"\A\[source\]\((\S+?)\)(?:\{[^}]*\})?\s*(#+ .*)", r"\2\n\n[source](\1){.api-source}", text)
    text = text.replace("*Call self as a function.*", "").replace(":NoneType=None", "=None")
    if is_class(name):  # which show_doc writes as a function
        if stated := fields(source, name): text = re.sub(r"```python\n.*?\n```", lambda _: f"```python\n{stated}\n```", text, count=1, flags=re.S)
        text = re.sub(r"^def (\w+)\(\s*\*args, \*\*\w+\s*\):", r"class \1", text, flags=re.M)
        text = re.sub(r"^def ", "class ", text, flags=re.M)
    return new_markdown_cell(f"({anchor(module, name)})=\n{text}", metadata={"api": name})


def in_order(cells: list[dict], order: dict[str, int]) -> list[dict]:
    "Neighbouring API cells in the order of the module (nbdev shows the definitions of one cell in reverse)."
    result, run = [], []
    for cell in [*cells, None]:
        if cell is not None and "api" in cell.metadata:
            run.append(cell)
            continue
        result += sorted(run, key=lambda c: order.get(c.metadata["api"], 0))
        run = []
        if cell is not None: result.append(cell)
    return result


def code_cell(cell: dict) -> dict:
    "A code cell with its directives as the tags that MyST-NB knows."
    directives = dict(re.findall(r"^#\|\s*([\w-]+):?\s*(.*?)\s*$", cell.source, re.M))
    cell.source = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M)
    tags = set(cell.metadata.get("tags", []))
    if directives.get("echo") == "false" or "parameters" in tags or "hide_input" in directives: tags.add("remove-input")
    if "code-fold" in directives or "injected-parameters" in tags: tags.add("hide-input")
    if tags: cell.metadata["tags"] = sorted(tags)
    cell.pop("has_sd", None)
    cell.execution_count = None
    return cell


def links(text: str, site: str, names: dict[str, str]) -> str:
    "nbdev's links to the published site as links to a page or to a name of this one."
    def local(match):
        label, page, name = match[1], match[2], match[3]
        return f"[{label}](#{names[page, name]})" if (page, name) in names else f"[{label}]({page}.ipynb)"
    text = re.sub(r"\]\((?:\.\./)?\d+[a-z]?_([\w.]+\.ipynb)\)", r"](\1)", text)  # from one notebook to another
    return re.sub(rf"\[([^\]]+)\]\({re.escape(site)}/([\w./-]+?)\.html#?([\w.]*)\)", local, text)


def page(source: Path, module: str, package: Path) -> nbformat.NotebookNode:
    "A page that nbdev processed, as MyST-NB reads it."
    nb = nbformat.read(source, 4)
    front = "".join(c.source for c in nb.cells if c.cell_type == "raw")
    title = re.search(r"^title: (.*)$", front, re.M)
    description = re.search(r"^description: (.*(?:\n  .*)*)$", front, re.M)
    exported = package/(module.replace(".", "/") + ".py")
    code = exported.read_text(encoding="utf-8") if exported.exists() else ""
    cells = []
    if title: cells.append(new_markdown_cell(f"# {title[1].strip(chr(39))}"))
    if description: cells.append(new_markdown_cell("*" + " ".join(description[1].split()).strip("'").replace("''", "'") + "*"))
    for cell in nb.cells:
        if cell.cell_type == "raw" or "AUTOGENERATED" in cell.source[:60]: continue
        if cell.cell_type == "code":
            shown = SHOW_DOC.search(cell.source)
            cell = api_cell(cell, module, code) if shown and "echo: false" in cell.source else code_cell(cell)
        cells.append(cell)
    return new_notebook(cells=in_order(cells, definitions(code)), metadata=nb.metadata)


def notebook_of(stem: str) -> bool:
    "Whether a pipeline notebook has this name (and so runs once, for no item)."
    return pipeline.notebook(ROOT, stem).exists()


def result(source: Path) -> nbformat.NotebookNode:
    "An executed pipeline notebook, its code folded and without progress bars; the item of a matrix stage goes into the title."
    nb = nbformat.read(source, 4)
    stem = source.stem
    heading = next((c for c in nb.cells if c.cell_type == "markdown" and c.source.startswith("# ")), None)
    if heading is None: nb.cells.insert(0, heading := new_markdown_cell(f"# {stem}"))
    title, newline, rest = heading.source.partition("\n")
    if not notebook_of(stem): heading.source = f"{title} (`{stem}`){newline}{rest}"
    nb.cells = [code_cell(c) if c.cell_type == "code" else c for c in nb.cells if c.cell_type != "raw"]
    for cell in nb.cells:
        if cell.cell_type != "code": continue
        if "remove-input" not in cell.metadata.get("tags", []): cell.metadata["tags"] = ["hide-input"]
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return nb


def toctree(caption: str, names: list[str]) -> dict:
    return new_markdown_cell(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(names) + "\n```")


def reference(pages: dict[str, nbformat.NotebookNode]) -> str:
    "All public names by module, each a link to its place."
    lines = ["# Names", "", "Every exported class and function, by module."]
    for name, nb in pages.items():
        api = [(c.metadata["api"], c.source) for c in nb.cells if "api" in c.metadata]
        if not api: continue
        lines += ["", f"## [`{name}`]({name}.ipynb)", ""]
        for symbol, text in api:
            about = re.search(r"^\*(.+?)\*$", text, re.M | re.S)
            about = " ".join(about[1].split("\n\n")[0].split()) if about else ""
            lines.append(f"* [`{symbol}`](#{anchor(name, symbol)}): {about}" if about else f"* [`{symbol}`](#{anchor(name, symbol)})")
    return "\n".join(lines) + "\n"


class Shown:
    "A value that is nothing but its text."
    def __init__(self, value): self.text = repr(value)
    def __repr__(self): return self.text


def know_all_names():
    """Let nbdev know every name of a module while it shows its signatures, and let it show arrays as default values.

    It runs the exported cells in order, and `show_doc` fails on an annotation that names a class of a later cell. It also asks of each default whether
    it is `!=` another value, which an array answers for each of its elements.
    """
    from fastcore.docments import DocmentText
    from nbdev.processors import exec_show_docs

    format_parameter = DocmentText._fmt_param
    DocmentText._fmt_param = lambda self, name, p: format_parameter(self, name, p | {"default": Shown(p["default"])} if hasattr(p.get("default"), "dtype") else p)

    begin = exec_show_docs.begin

    def begin_with_module(self):
        begin(self)
        module = re.sub(r"^\d+[a-z]?_", "", Path(self.nb.path_).stem)
        if (ROOT/"liquidity_game"/(module.replace(".", "/") + ".py")).exists():
            self.k.run_cell(f"from liquidity_game.{module} import *")

    exec_show_docs.begin = begin_with_module


def in_pipeline_order(paths) -> list[Path]:
    "Executed notebooks in the order of dvc.yaml."
    order = [f"{run.stage}_{run.item}" if run.item else run.stage for run in pipeline.runs(ROOT)]
    return sorted(paths, key=lambda p: (order.index(p.stem) if p.stem in order else len(order), p.stem))


def write_sources(processed: Path, executed: Path, package: Path, folder: Path, site: str) -> dict[str, nbformat.NotebookNode]:
    "All pages of the site in `folder`; the library pages by name."
    shutil.rmtree(folder, ignore_errors=True)
    (folder/"results").mkdir(parents=True)
    pages, rooms = {}, {}
    for path in sorted(processed.glob("[0-9]*.ipynb")) + sorted(processed.glob("tutorials/*.ipynb")):
        name = re.sub(r"^\d+[a-z]?_", "", path.stem)
        pages[name] = page(path, name, package)
        rooms.setdefault("Tutorials" if path.parent != processed else ROOMS[path.stem[0]], []).append(name)
    results = []
    for path in in_pipeline_order(executed.glob("**/*.ipynb")):
        nbformat.write(result(path), folder/"results"/path.name)
        results.append(f"results/{path.stem}")
    names = {(n, c.metadata["api"].lower()): anchor(n, c.metadata["api"]) for n, nb in pages.items() for c in nb.cells if "api" in c.metadata}
    index = page(processed/"index.ipynb", "index", package)
    for caption, members in rooms.items(): index.cells.append(toctree(caption, members))
    if results: index.cells.append(toctree("Results", results))
    index.cells.append(toctree("Reference", ["names"]))
    for name, nb in [*pages.items(), ("index", index)]:
        for cell in nb.cells:
            if cell.cell_type == "markdown": cell.source = links(cell.source, site, names)
        nbformat.write(nb, folder/f"{name}.ipynb")
    (folder/"names.md").write_text(reference(pages), encoding="utf-8")
    return pages


def build(source: Path, out: Path, title: str, author: str) -> int:
    "Run Sphinx; its exit code."
    from sphinx.application import Sphinx

    settings = dict(
        project=title, author=author, html_title=title, html_theme="furo", html_show_sourcelink=False, html_copy_source=False,
        html_show_copyright=False, html_static_path=["_own"], html_css_files=["own.css"],
        extensions=["myst_nb", "sphinx-mathjax-offline", "sphinx_copybutton"], nb_execution_mode="off", nb_render_markdown_format="myst",
        myst_enable_extensions=["dollarmath", "amsmath", "colon_fence", "deflist", "attrs_inline"], myst_heading_anchors=0,
        suppress_warnings=["myst.header", "mystnb.unknown_mime_type"], exclude_patterns=["_build", "_own"])
    (source/"_own").mkdir(exist_ok=True)
    (source/"_own"/"own.css").write_text(CSS, encoding="utf-8")
    made = source/"_build"/"html"  # and not `out`: MyST-NB puts a folder of its own beside it
    app = Sphinx(source, None, made, source/"_build"/"trees", "html", settings, status=None, freshenv=True)
    app.build(force_all=True)
    shutil.rmtree(out, ignore_errors=True)
    shutil.move(made, out)
    return app.statuscode


def main() -> int:
    from nbdev.config import get_config
    from nbdev.serve import proc_nbs

    os.chdir(ROOT)
    os.environ.setdefault("MPLBACKEND", "agg")
    cfg = get_config()
    know_all_names()
    processed = proc_nbs(n_workers=0, force=True, skip_folder_re=r"^([_.]|pipeline)")
    source, out = processed/"_site", ROOT/"_docs"
    write_sources(processed, ROOT/"data"/"notebooks", cfg.lib_path, source, cfg.doc_host + cfg.doc_baseurl)
    code = build(source, out, cfg.title, cfg.author)
    if not any((ROOT/"data"/"notebooks").glob("**/*.ipynb")): print("no executed pipeline notebooks yet (make repro): the site has no results")
    print(f"The site is {out/'index.html'}")
    return code


if __name__ == "__main__": sys.exit(main())
