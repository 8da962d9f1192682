"""docs/policies.md tells all options, and its example works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runtime.policy.worker.backends import BUILT_IN, built_in
from runtime.policy.worker.wire import Can

PAGE = (Path(__file__).parents[2] / "docs/policies.md").read_text()


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_backend_and_every_option_has_its_line(name):
    assert f"| `{name}` |" in PAGE
    (section,) = [part for part in PAGE.split("\n## ") if f"`{name}`" in part.splitlines()[0]] or [""]
    rows = " ".join(line.split("|")[1] for line in section.splitlines() if line.startswith("| `"))
    assert [option for option in built_in(name).OPTIONS if f"`{option}`" not in rows] == []


async def test_the_example_of_an_own_policy(rig, tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (offer,) = re.findall(r'policies"\]\n    (nod = .*)\n', PAGE)
    (tmp_path / "my_package.py").write_text(example)
    package = tmp_path / "my_package-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(f"[reflexd.policies]\n{offer}\n".replace('"', ""))
    bench = rig(backend="nod", paths=(str(tmp_path),), options={"size": 0.3})
    bench.worker.set_task("nod far")
    await bench.worker.start()
    assert bench.worker.can == Can.TASK | Can.CONTINUE
    chunk = await bench.chunk()
    assert chunk.actions.shape == (4, 3)
    assert chunk.actions.max() == pytest.approx(0.5 * 3**0.5 / 2)
    bench.worker.plan[:2] = 9.0
    assert bench.worker.request(bench.now(), 2, 1)
    await bench.until(lambda: len(bench.chunks) == 2, "a chunk")
    assert bench.chunks[-1].actions[:, 0] == pytest.approx([9.0, *chunk.actions[1:, 0]])
