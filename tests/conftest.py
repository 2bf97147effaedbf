import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/"scripts"))


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="also run notebook cells marked `#| slow`")


@pytest.fixture(scope="session")
def root() -> Path: return ROOT


@pytest.fixture
def sb3():
    "Stable-Baselines3, a requirement of the tests alone, on one thread: its networks are small."
    found = pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed; it is in requirements.in")
    import torch
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield found
    torch.set_num_threads(threads)
