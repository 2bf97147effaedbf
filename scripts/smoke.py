"""Every pipeline notebook with tiny settings, in the order of dvc.yaml, in one process: `smoke.py [FOLDER]`.

Runs the cells with `smoke = True` and with the outputs in a scratch folder (a temporary one, if none is named), so that real outputs and dvc.lock stay as they
are. Stops at the first cell that fails, shows it, and exits with 1.
"""
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "agg")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import pipeline

ROOT = Path(__file__).resolve().parent.parent


def injected(path: Path, values: dict):
    "The notebook with its parameters set: a cell after the one tagged `parameters`."
    from execnb.nbio import mk_cell, read_nb

    nb = read_nb(path)
    place = [i for i, cell in enumerate(nb.cells) if "parameters" in cell.metadata.get("tags", [])]
    if len(place) != 1: raise ValueError(f"{path.name}: {len(place)} cells are tagged parameters; one is")
    nb.cells.insert(place[0] + 1, mk_cell("\n".join(f"{k} = {v!r}" for k, v in values.items()), "code"))
    return nb


def run_notebook(path: Path, values: dict, folder: Path) -> str | None:
    "Run the cells in a fresh namespace, working in `folder`; the traceback, if a cell fails."
    from execnb.shell import CaptureShell

    try: nb = injected(path, values)
    except ValueError as error: return str(error)
    shell = CaptureShell(path)
    with contextlib.chdir(folder):
        try: shell.run_all(nb, exc_stop=True)
        except Exception: return shell.prettytb(fname=path)
    return None


def smoke(root: Path, scratch: Path) -> int:
    "Run all stages that have a notebook; 0 if every cell ran."
    stages = [run for run in pipeline.runs(root) if run.stage != "paper"]
    for number, run in enumerate(stages, 1):
        out = scratch/"data"/run.stage/(run.item or "")
        name = f"{run.stage}@{run.item}" if run.item else run.stage
        print(f"[{number}/{len(stages)}] {name} ", end="", flush=True)
        start = time.perf_counter()
        values = dict(params=str(root/"params.yaml"), out=str(out), seed=0, smoke=True)
        error = run_notebook(pipeline.notebook(root, run.stage), values, root/"nbs")
        print(f"{time.perf_counter() - start:.1f} s {'FAILED' if error else 'ok'}", flush=True)
        if error:
            print(error, file=sys.stderr)
            return 1
    return 0


def main(arguments: list[str]) -> int:
    if arguments: return smoke(ROOT, Path(arguments[0]).resolve())
    with tempfile.TemporaryDirectory(prefix="liquidity_game_smoke_") as folder: return smoke(ROOT, Path(folder))


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
