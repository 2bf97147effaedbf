"""One test per notebook of the library, run as `nbdev_test` runs it: each in a fresh process, forked from one that has loaded nbdev. The index has to print what it shows."""
import contextlib
import io
import multiprocessing
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(p for folder in ("", "tutorials") for p in (ROOT/"nbs"/folder).glob("*.ipynb") if p.name[0] not in "._" and p.stem != "index")
FRESH = multiprocessing.get_context("forkserver")
FRESH.set_forkserver_preload(["nbdev.test"])
LIMIT_S = 600


def run(path: Path, force_flags: list[str], sender):
    "In the child: run the notebook, send what it wrote to stderr, or None if every cell passed."
    from nbdev.config import get_config
    from nbdev.test import test_nb as run_nb

    os.environ.setdefault("MPLBACKEND", "agg")
    os.chdir(ROOT/"nbs")
    text = io.StringIO()
    with contextlib.redirect_stderr(text):
        passed, _ = run_nb(path, skip_flags=get_config(path=ROOT).tst_flags.split(), force_flags=force_flags, basepath=ROOT)
    sender.send(None if passed else text.getvalue() or "failed without a message")


def failure(path: Path, force_flags: list[str] = []) -> str | None:
    "The traceback of the first cell that fails; None if all pass."
    receiver, sender = FRESH.Pipe(duplex=False)
    process = FRESH.Process(target=run, args=(path, force_flags, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(LIMIT_S) else f"still running after {LIMIT_S} s"
    except EOFError:
        process.join()
        return f"the process ended with exit code {process.exitcode}"
    finally:
        process.kill()
        process.join()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook(path, request):
    force_flags = ["slow"] if request.config.getoption("--slow") else []
    if error := failure(path, force_flags): pytest.fail(error, pytrace=False)


def printed(notebook) -> list[str]:
    "What each cell of a notebook shows as text."
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return ["".join(o.text if o.output_type == "stream" else o.data["text/plain"] for o in cell.outputs if o.get("name") != "stderr" and "text/plain" in o.get("data", {"text/plain": ""})) for cell in code]


def test_the_readme_shows_what_a_run_gives():
    "README.md is compared with the saved outputs of the index (`make check`), and these here with those of a fresh run."
    notebook = nbformat.read(ROOT/"nbs"/"index.ipynb", 4)
    shown = printed(notebook)
    NotebookClient(notebook, timeout=LIMIT_S, kernel_name="python3", resources={"metadata": {"path": str(ROOT/"nbs")}}).execute()
    for k, (old, new) in enumerate(zip(shown, printed(notebook), strict=True)): assert old == new, f"code cell {k} of nbs/index.ipynb"
    assert sum(map(bool, shown)) > 5
