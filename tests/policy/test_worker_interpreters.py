"""The worker runs in any interpreter that has numpy: `policy.python`."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

import runtime.policy.worker
from runtime.policy.errors import PolicyError
from runtime.policy.worker.backends import BUILT_IN, built_in, wrong_options

WORKER = Path(next(iter(runtime.policy.worker.__path__)))


@pytest.fixture
def bare_python(tmp_path):
    """An interpreter of its own, with nothing installed."""
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    return tmp_path / "bare" / "bin" / "python"


def give_numpy(python: Path) -> None:
    (site,) = python.parent.parent.glob("lib/python*/site-packages")
    package = Path(np.__file__).parent
    for folder in (package, package.with_name("numpy.libs")):
        if folder.exists():
            (site / folder.name).symlink_to(folder)


def other_pythons() -> list[str]:
    """Interpreters of other versions that are installed here and have numpy."""
    found = []
    for minor in range(9, 15):
        python = shutil.which(f"python3.{minor}")
        if python is None or minor == sys.version_info.minor:
            continue
        answer = subprocess.run(
            [python, "-c", "import sys, numpy; print(sys.executable)"], capture_output=True, text=True, check=False
        )
        if answer.returncode == 0:
            found.append(answer.stdout.strip())
    return found


async def test_numpy_and_the_standard_library_are_enough(rig, bare_python, tmp_path):
    give_numpy(bare_python)
    r = rig(python=str(bare_python), backend="model_zoo:Introspective", model=str(tmp_path / "seen"))
    await r.worker.start()
    assert (await r.chunk()).actions.shape == (4, 3)
    executable, _, *rest = (tmp_path / "seen").read_text().splitlines()
    assert executable == str(bare_python)
    ours = [folder for folder in sys.path if "site-packages" in folder]
    assert not set(ours) & set(rest), "our packages are built for our interpreter"


async def test_an_interpreter_without_numpy_is_named(rig, bare_python):
    r = rig(python=str(bare_python))
    with pytest.raises(PolicyError, match=rf"{bare_python} .* cannot import numpy .* install numpy there"):
        await r.worker.start()


@pytest.mark.parametrize(
    ("backend", "package"),
    [("onnx", "onnxruntime"), ("tensorrt", "TensorRT"), ("torchscript", "torch"), ("torch_export", "torch")],
)
async def test_an_interpreter_without_the_backends_package_is_named(rig, bare_python, backend, package):
    give_numpy(bare_python)
    r = rig(python=str(bare_python), backend=backend, model=__file__)
    with pytest.raises(PolicyError, match=rf"{bare_python} cannot import {package} .* install it there"):
        await r.worker.start()


async def test_an_interpreter_that_cannot_read_recordings_is_named(rig, bare_python):
    give_numpy(bare_python)
    r = rig(python=str(bare_python), backend="replay", model=__file__)
    with pytest.raises(PolicyError, match=rf"{bare_python} .* cannot read recordings .* leave policy\.python out"):
        await r.worker.start()


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_backend_of_the_house_is_known_to_the_check_of_configs(name):
    backend = built_in(name)
    assert isinstance(backend.MODEL, str)
    assert wrong_options({"no_such_option": 1}, backend.OPTIONS).keys() == {"no_such_option"}


async def test_an_interpreter_of_another_version(rig):
    pythons = other_pythons()
    if not pythons:
        pytest.skip("no other Python with numpy is installed here: python3.9 to python3.14 were looked for")
    for python in pythons:
        r = rig(python=python)
        await r.worker.start()
        assert (await r.chunk()).actions.shape == (4, 3)


def old_python() -> str | None:
    for name in ("python3.8", "python3.7", "python3.6", "python2.7", "python2"):
        python = shutil.which(name)
        if python and subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
            return python
    return None


async def test_an_interpreter_that_is_too_old(rig):
    python = old_python()
    if python is None:
        pytest.skip("no Python older than 3.9 is installed here")
    with pytest.raises(PolicyError, match=r"policy\.python is Python .*; its process needs 3\.9 or newer"):
        await rig(python=python).worker.start()


@pytest.mark.parametrize(
    "path",
    sorted([*WORKER.rglob("*.py"), *(WORKER.parents[1] / "cameras" / "worker").rglob("*.py")]),
    ids=lambda path: path.name,
)
def test_the_worker_speaks_python_3_9(path):
    ast.parse(path.read_text(), feature_version=(3, 9))


async def test_a_folder_full_of_traps_is_not_imported(rig, tmp_path, monkeypatch):
    for name in ("json", "types", "numpy", "runtime"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken from the working directory')")
    monkeypatch.chdir(tmp_path)
    r = rig()
    await r.worker.start()
    assert os.getcwd() == str(tmp_path)


async def test_a_backend_that_a_package_offers(rig, tmp_path):
    """Entry points of the worker's interpreter: an installed distribution is a folder with metadata."""
    package = tmp_path / "offering-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: offering\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[reflexd.policies]\nramp = model_zoo:Ramp\n")
    here = str(Path(__file__).parent)
    r = rig(backend="ramp", paths=(here, str(tmp_path)))
    await r.worker.start()
    assert (await r.chunk()).actions[3, 0] == 3.0
    await r.worker.close()
    with pytest.raises(PolicyError, match=r"found there ramp under reflexd\.policies"):
        await rig(backend="rump", paths=(here, str(tmp_path))).worker.start()
