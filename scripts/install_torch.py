"""Install the pinned torch into the running environment: `install_torch.py cpu` or `install_torch.py cuda`.

The processor build is much smaller than the default build on Linux, which brings CUDA along. An index may hold it under its local version (`+cpu`); if not,
it comes from PyTorch's own index; if that cannot be reached either, the default build does as well.
"""
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def pinned(requirements: str) -> str:
    "The version of torch in the text of requirements.in."
    return re.search(r"^torch==([\w.]+)\s*$", requirements, re.M)[1]


def installed() -> str | None:
    "The version of torch that is installed, with its local part."
    try: return metadata.version("torch")
    except metadata.PackageNotFoundError: return None


def satisfied(have: str | None, version: str, build: str) -> bool:
    "Whether what is installed will do. The default build serves a processor as well; a processor build does not serve a GPU."
    if have is None or have.partition("+")[0] != version: return False
    return build == "cpu" or not have.endswith("+cpu")


def attempts(version: str, build: str, python: str) -> list[list[str]]:
    "The commands to try, best first."
    pins = str(ROOT/"requirements.txt")
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", pins]
    uv = [str(Path(python).parent/"uv"), "pip", "install", "-q", "--python", python, "-c", pins, "--reinstall-package", "torch"]
    plain = [[*uv, f"torch=={version}"], [*pip, "--force-reinstall", f"torch=={version}"]]
    if build == "cuda": return plain
    return [[*pip, f"torch=={version}+cpu"], [*uv, "--torch-backend=cpu", f"torch=={version}"], *plain]


def main(build: str) -> int:
    version = pinned((ROOT/"requirements.in").read_text())
    if satisfied(installed(), version, build): return 0
    for command in attempts(version, build, sys.executable):
        print(f"trying {command[-1]} with {Path(command[0]).name}", flush=True)
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode == 0: return 0
    print(result.stderr, f"torch {version} could not be installed for {build}", sep="\n", file=sys.stderr)
    return 1


if __name__ == "__main__":
    if sys.argv[1:] not in (["cpu"], ["cuda"]): sys.exit("usage: install_torch.py cpu|cuda")
    sys.exit(main(sys.argv[1]))
