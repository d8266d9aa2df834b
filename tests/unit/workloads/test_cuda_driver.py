"""The driver's calls: what they are told, what they answer, and how they fail."""

from __future__ import annotations

import ctypes
import threading
import time

import pytest

from tests.unit.fake_gpu import INVALID_PTX, NO_DEVICE, UUID, Cuda
from workloads import cuda_driver, gpu_kernels
from workloads.cuda_driver import MIB, CudaError, Device, Driver


def test_a_uuid_reads_as_nvml_and_dra_print_it() -> None:
    assert cuda_driver.gpu_uuid(bytes.fromhex(UUID[4:].replace("-", ""))) == UUID


def test_the_device_says_what_this_process_was_given() -> None:
    device = Device(Driver(Cuda(sm_count=26)))
    assert device.attribute(cuda_driver.MULTIPROCESSOR_COUNT) == 26
    assert (device.uuid, device.name, device.cuda_version) == (UUID, "NVIDIA H200", "13.1")
    assert device.capability == (9, 0)


@pytest.mark.parametrize(("told", "expected"), [(0, False), (1, True), (None, None)])
def test_the_driver_says_whether_mps_is_used_if_it_knows(
    told: int | None, expected: bool | None
) -> None:
    assert Device(Driver(Cuda(mps=told))).mps_enabled is expected


def test_another_failure_to_tell_is_not_taken_for_an_answer() -> None:
    device = Device(Driver(Cuda(fail={"cuDeviceGetAttribute": NO_DEVICE})))
    with pytest.raises(CudaError, match="CUDA_ERROR_NO_DEVICE"):
        _ = device.mps_enabled


def test_an_error_tells_the_call_the_name_and_what_to_look_at() -> None:
    with pytest.raises(CudaError) as raised:
        Device(Driver(Cuda(fail={"cuInit": NO_DEVICE})))
    assert (raised.value.call, raised.value.name) == ("cuInit", "CUDA_ERROR_NO_DEVICE")
    assert str(raised.value) == (
        "cuInit: CUDA_ERROR_NO_DEVICE"
        " (what went wrong; no GPU is visible here: has the pod a claim?)"
    )


def test_an_error_without_a_name_is_told_by_its_number() -> None:
    with pytest.raises(CudaError, match="cuInit: error 4711"):
        Device(Driver(Cuda(fail={"cuInit": 4711})))


def test_a_call_that_the_driver_does_not_have_is_told() -> None:
    with pytest.raises(CudaError, match="newer: not in this driver"):
        Driver(Cuda()).call("newer")


def test_no_driver_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, "LIBRARY", "libnone.so.1")
    with pytest.raises(CudaError, match=r"no CUDA driver \(libnone.so.1: .*has the pod a claim"):
        Driver()


def test_memory_is_given_back_and_so_is_the_context() -> None:
    cuda = Cuda()
    with Device(Driver(cuda)).open() as context:
        assert context.memory() == (96 * MIB, 1024 * MIB)
        with context.allocate(8 * MIB) as buffer:
            buffer.fill(0x01020304)
            assert buffer.read(4 * MIB, 8) == bytes.fromhex("0403020104030201")
            assert context.memory()[0] == 88 * MIB
        assert context.memory()[0] == 96 * MIB
    assert cuda.called[-1] == "cuDevicePrimaryCtxRelease_v2"


def test_after_an_error_of_cuda_nothing_more_is_asked() -> None:
    cuda = Cuda()
    with (
        pytest.raises(CudaError, match="cuMemAlloc_v2"),
        Device(Driver(cuda)).open() as context,
        context.allocate(8 * MIB),
    ):
        context.allocate(1024 * MIB)
    assert not {"cuMemFree_v2", "cuDevicePrimaryCtxRelease_v2"} & set(cuda.called)


def test_after_another_error_the_work_is_awaited_and_the_context_given_back() -> None:
    cuda = Cuda()
    with pytest.raises(KeyError), Device(Driver(cuda)).open():
        raise KeyError
    assert cuda.called[-2:] == ["cuCtxSynchronize", "cuDevicePrimaryCtxRelease_v2"]


def test_a_kernel_that_does_not_compile_is_told_with_the_compilers_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_cuda: Cuda, _module: object, _ptx: object, *options: object) -> int:
        values = options[2]
        assert isinstance(values, ctypes.Array)
        ctypes.memmove(values[0], b"line 7: no such instruction\n", 28)
        return INVALID_PTX

    monkeypatch.setattr(Cuda, "do_cuModuleLoadDataEx", refuse, raising=False)
    told = r"INVALID_PTX \(line 7: no such instruction\)"
    with pytest.raises(CudaError, match=told), Device(Driver(Cuda())).open() as context:
        context.kernel("", gpu_kernels.TICK)


def test_a_call_that_does_not_return_is_seen_from_another_thread() -> None:
    called, answered = threading.Event(), threading.Event()

    def wait(_function: str) -> None:
        called.set()
        answered.wait(60)

    driver = Driver(Cuda(before=wait))
    assert driver.waiting() == ("", 0.0)
    thread = threading.Thread(target=driver.call, args=("cuCtxSynchronize",))
    thread.start()
    called.wait(60)
    time.sleep(0.01)
    call, waited = driver.waiting()
    answered.set()
    thread.join()
    assert call == "cuCtxSynchronize"
    assert waited >= 0.01
    assert driver.waiting() == ("", 0.0)
