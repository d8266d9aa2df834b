"""The kernels' texts; that they compile and run is what a GPU shows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from workloads import gpu_kernels, gpu_measures

WORKLOADS = Path(gpu_kernels.__file__).parent
TEXTS = {
    gpu_kernels.FMA: gpu_kernels.fma(),
    gpu_kernels.COPY: gpu_kernels.copy(),
    gpu_kernels.TICK: gpu_kernels.tick(),
}


@pytest.mark.parametrize("name", TEXTS)
def test_every_kernel_compiles_from_capability_7_0_on_by_its_header(name: str) -> None:
    assert TEXTS[name].startswith(".version 6.0\n.target sm_70\n")
    assert f".visible .entry {name}(" in TEXTS[name]


@pytest.mark.parametrize("name", TEXTS)
def test_every_register_is_declared(name: str) -> None:
    declared = {
        f"{register}{number}"
        for register, count in re.findall(r"(%\w+)<(\d+)>", TEXTS[name])
        for number in range(int(count))
    }
    declared |= set(re.findall(r"(%[a-z]+)[,;]", "\n".join(re.findall(r"\.reg.*", TEXTS[name]))))
    built_in = {"%ctaid", "%ntid", "%tid"}
    assert set(re.findall(r"%\w+", TEXTS[name])) - declared <= built_in | {"%x", "%w"}


def test_a_round_has_as_many_fmas_as_are_counted() -> None:
    expected = gpu_kernels.ACCUMULATORS * gpu_kernels.UNROLL
    assert gpu_kernels.fma().count("fma.rn.f32") == expected
    chains = re.findall(r"fma.rn.f32 (%x\d), (%x\d), %factor, %summand;", gpu_kernels.fma(1))
    assert chains == [(f"%x{i}", f"%x{i}") for i in range(gpu_kernels.ACCUMULATORS)]


def test_the_total_counts_the_fmas_exactly() -> None:
    assert gpu_kernels.fma_total(1, unroll=2) == sum(i + 2 for i in range(8))
    most = gpu_kernels.most_rounds()
    assert gpu_kernels.fma_total(most) <= 2**24 < gpu_kernels.fma_total(most + 1)


def test_a_copy_is_a_whole_number_of_blocks() -> None:
    assert gpu_measures.COPY_STEP % gpu_kernels.COPY_BYTES_PER_BLOCK == 0
    assert gpu_kernels.copy().count("ld.global.v4.u32") == 4


@pytest.mark.parametrize("path", sorted(WORKLOADS.glob("*.py")), ids=lambda path: path.name)
def test_every_workload_is_python_3_9(path: Path) -> None:
    """The image that a pod runs in is its author's choice, so the programs ask for little."""
    ast.parse(path.read_text(), feature_version=(3, 9))
