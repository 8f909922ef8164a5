"""Converting costs little: two seconds of work and 150 MB of memory, whatever the container."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cli import ROOT, environment
from tests.reference import REFERENCE, needs_reference
from weights_tools.convert import convert

CPU_S = 2.0
"""Of the processor, since others use the machine too; starting Python and its imports included."""

MEMORY_MB = 150.0
"""At the most, as the system counts it: with the interpreter, its libraries and the mapped file."""

# Not ru_maxrss: that begins with the memory of whoever started the process.
_MEASURED = """
import sys, time
from pathlib import Path
from weights_tools.__main__ import main
try:
    main()
finally:
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    print(time.process_time(), int(peak) / 1024, file=sys.stderr)
"""


def measured(source: Path, out: Path, *options: str) -> tuple[float, float]:
    """Processor time in seconds and peak memory in MB of one conversion in a process of its own."""
    argv = [sys.executable, "-c", _MEASURED, "convert", str(source), "-o", str(out), *options]
    variables = environment() | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    answer = subprocess.run(argv, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    cpu_s, memory_mb = map(float, answer.stderr.splitlines()[-1].split())
    return cpu_s, memory_mb


@needs_reference
@pytest.mark.skipif(
    not Path("/proc/self/status").is_file(), reason="no /proc/self/status: measured on Linux only"
)
@pytest.mark.parametrize(
    "name",
    [
        "timm/mixnet_s.pth",
        "timm/tf_mixnet_m.safetensors",
        "tf/mixnet-s.tar.gz",
        "mindcv/mixnet_s.ckpt",
        "openvino/mixnet-l.xml",
        "onnx",
    ],
)
def test_a_conversion_with_its_report_keeps_to_the_budgets(name: str, tmp_path: Path) -> None:
    source = REFERENCE / name
    if name == "onnx":
        if find_spec("onnx") is None:
            pytest.skip("onnx is missing: pip install 'minimix[onnx]'")
        from weights_tools.export_onnx import export

        convert(REFERENCE / "timm" / "mixnet_s.pth", tmp_path / "s.h5")
        source = tmp_path / "s.onnx"
        export(tmp_path / "s.h5", source)
    report = tmp_path / "map.json"
    cpu_s, memory_mb = measured(source, tmp_path / "out.h5", "--report", str(report))
    assert report.is_file()
    assert cpu_s < CPU_S
    assert memory_mb < MEMORY_MB
