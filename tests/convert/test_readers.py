"""Checkpoint files: those that PyTorch writes, broken ones, and hostile ones."""

import os
import pickle
import random
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from convert_torch_weights.readers import read_checkpoint
from lipsync_jax.errors import CheckpointError

ROOT = Path(__file__).resolve().parents[2]
MAGIC_PICKLE = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)


@pytest.fixture(scope="module")
def module() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers)
    network(torch.randn(4, 2, 5, 5))  # statistics and a counter that are not initial
    return network.eval()


@pytest.fixture(params=["zip", "legacy"])
def container(request) -> str:
    return request.param


def save(entries, path: Path, container: str = "zip", **options) -> Path:
    zipped = container == "zip"
    torch.save(entries, path, _use_new_zipfile_serialization=zipped, **options)
    return path


def assert_equal(tensors: dict[str, np.ndarray], expected: dict) -> None:
    """Same names in the same order, same dtypes, same values."""
    assert list(tensors) == list(expected)
    for name, tensor in expected.items():
        array = tensor.detach().numpy()
        assert tensors[name].dtype == array.dtype, name
        np.testing.assert_array_equal(tensors[name], array, err_msg=name)


def assert_refused(path: Path, *parts: str) -> None:
    """Refused in one line, which names the file and contains the parts."""
    with pytest.raises(CheckpointError) as raised:
        read_checkpoint(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for part in parts:
        assert part in message


def write_archive(path: Path, data: bytes, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        for name, content in members.items():
            archive.writestr(f"archive/{name}", content)
    return path


# --- Files that PyTorch writes --------------------------------------------------------


def test_training_checkpoint(module, container, tmp_path):
    entries = {
        "state_dict": module.state_dict(),
        "optimizer": None,
        "global_step": 7,
        "loss": 0.5,
    }
    checkpoint = read_checkpoint(save(entries, tmp_path / "a b.pth", container))
    assert_equal(checkpoint.tensors, module.state_dict())
    assert checkpoint.tensors["1.num_batches_tracked"] == 1
    assert checkpoint.container == container
    assert checkpoint.extra == {"optimizer": None, "global_step": 7, "loss": 0.5}


def test_several_state_dicts(module, container, tmp_path):
    """Optimizers are left out, by their form."""
    parallel = torch.nn.DataParallel(module)
    optimizer = torch.optim.Adam(module.parameters())
    entries = {
        "step": 7,
        "netG": parallel.state_dict(),
        "optimizer_G": optimizer.state_dict(),
        "netD": {"w": torch.ones(2)},
        "nothing": {},
    }
    checkpoint = read_checkpoint(save(entries, tmp_path / "a.pth.tar", container))
    expected = {f"netG.{name}": x for name, x in module.state_dict().items()}
    assert_equal(checkpoint.tensors, {**expected, "netD.w": torch.ones(2)})
    assert checkpoint.extra == {"step": 7}


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_bare_state_dict(module, container, protocol, tmp_path):
    path = tmp_path / "bare.pth"
    save(module.state_dict(), path, container, pickle_protocol=protocol)
    checkpoint = read_checkpoint(str(path))
    assert_equal(checkpoint.tensors, module.state_dict())
    assert checkpoint.extra == {}


@pytest.mark.parametrize("wrapped", [True, False])
def test_names_lose_the_prefix_of_data_parallel(module, container, wrapped, tmp_path):
    weights = torch.nn.DataParallel(module).state_dict()
    assert "module.0.weight" in weights
    entries = {"state_dict": weights} if wrapped else weights
    checkpoint = read_checkpoint(save(entries, tmp_path / "m.pth", container))
    assert_equal(checkpoint.tensors, module.state_dict())


def test_name_with_and_without_prefix_is_ambiguous(container, tmp_path):
    weights = {"a.weight": torch.zeros(1), "module.a.weight": torch.zeros(1)}
    path = save(weights, tmp_path / "twice.pth", container)
    assert_refused(path, "'module.a.weight'", "with and without 'module.'")


def test_dtypes(container, tmp_path):
    floats = [torch.float64, torch.float32, torch.float16]
    integers = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]
    weights = {
        str(dtype): torch.tensor([[0, 1], [2, 3]], dtype=dtype)
        for dtype in (*floats, *integers, torch.bool)
    }
    path = save(weights, tmp_path / "dtypes.pth", container)
    assert_equal(read_checkpoint(path).tensors, weights)


def test_bfloat16_becomes_float32(container, tmp_path):
    weights = torch.tensor([1.0, -2.5, 3e38, float("inf")]).bfloat16()
    path = save({"w": weights}, tmp_path / "bf16.pth", container)
    assert_equal(read_checkpoint(path).tensors, {"w": weights.float()})


def test_views_of_a_shared_storage(container, tmp_path):
    base = torch.arange(24.0).reshape(4, 6)
    weights = {
        "base": base,
        "tied": base,
        "transposed": base.t(),
        "columns": base[1:3, 1::2],
        "scalar": base[2, 3],
        "one_row": base[:1],
        "empty": base[:0],
        "parameter": torch.nn.Parameter(base[3]),
    }
    tensors = read_checkpoint(save(weights, tmp_path / "v.pth", container)).tensors
    assert_equal(tensors, weights)
    assert np.shares_memory(tensors["base"], tensors["tied"])
    assert not any(array.flags.writeable for array in tensors.values() if array.size)


def adam_entries(size: int, *, old_keys: bool) -> dict:
    layer = torch.nn.Linear(size, size)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, size)).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    if old_keys:  # PyTorch 1.1 numbered parameters by their addresses
        ids = {index: 140_000_000_000_000 + 64 * index for index in state["state"]}
        state["state"] = {ids[index]: item for index, item in state["state"].items()}
        state["param_groups"][0]["params"] = list(ids.values())
    return {"state_dict": layer.state_dict(), "optimizer": state, "global_step": 1}


@pytest.mark.parametrize("old_keys", [True, False])
def test_optimizer_is_never_loaded(container, old_keys, tmp_path):
    entries = adam_entries(512, old_keys=old_keys)
    path = save(entries, tmp_path / "adam.pth", container)
    weights = sum(tensor.nbytes for tensor in entries["state_dict"].values())
    assert path.stat().st_size > 3 * weights
    tracemalloc.start()
    checkpoint = read_checkpoint(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert_equal(checkpoint.tensors, entries["state_dict"])
    assert checkpoint.extra == {"global_step": 1}
    assert peak < 1.5 * weights


def test_big_endian_archive(tmp_path):
    path = save({"w": torch.arange(4.0)}, tmp_path / "little.pth")
    with zipfile.ZipFile(path) as archive:
        data = archive.read("little/data.pkl")
    members = {"byteorder": b"big", "data/0": np.arange(4, dtype=">f4").tobytes()}
    path = write_archive(tmp_path / "big.pth", data, members)
    assert_equal(read_checkpoint(path).tensors, {"w": torch.arange(4.0)})


def test_stream_written_under_python_2(tmp_path):
    """Byte strings, and an OrderedDict made from a list of pairs."""

    def string(text: str) -> bytes:
        return b"U" + bytes([len(text)]) + text.encode()

    storage = b"(" + string("storage") + b"ctorch\nFloatStorage\n" + string("9437184")
    storage += string("cuda:0") + b"K\x02NtQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00K\x02\x85K\x01"
    tensor += b"\x85\x89ccollections\nOrderedDict\n]\x85RtR"
    weights = b"ccollections\nOrderedDict\n](](" + string("w") + tensor + b"ee\x85R"
    path = tmp_path / "python2.pth"
    path.write_bytes(
        MAGIC_PICKLE
        + pickle.dumps(1001, protocol=2)
        + pickle.dumps({"little_endian": True}, protocol=2)
        + (b"\x80\x02}" + string("state_dict") + weights + b"s.")
        + (b"\x80\x02]" + string("9437184") + b"a.")
        + struct.pack("<qff", 2, 1.5, -2.0)
    )
    assert_equal(read_checkpoint(path).tensors, {"w": torch.tensor([1.5, -2.0])})


def traced(module: torch.nn.Module) -> torch.jit.ScriptModule:
    return torch.jit.trace(module, torch.zeros(1, 2, 5, 5))


@pytest.mark.parametrize("compiled", [traced, torch.jit.script])
def test_torchscript(module, compiled, tmp_path):
    compiled(module).save(tmp_path / "net.pt")
    checkpoint = read_checkpoint(tmp_path / "net.pt")
    assert_equal(checkpoint.tensors, module.state_dict())
    assert checkpoint.container == "torchscript"
    assert checkpoint.extra == {}


def test_torchscript_of_nested_modules(module, tmp_path):
    encoder = torch.nn.Sequential(torch.nn.Sequential(module, torch.nn.Sigmoid()))
    nested = torch.nn.Sequential(OrderedDict(encoder=encoder)).eval()
    parallel = torch.nn.Sequential(OrderedDict(module=nested)).eval()
    traced(parallel).save(tmp_path / "nested.pt")
    tensors = read_checkpoint(tmp_path / "nested.pt").tensors
    assert_equal(tensors, nested.state_dict())
    assert "encoder.0.0.1.running_var" in tensors


def test_frozen_torchscript_is_refused(module, tmp_path):
    torch.jit.freeze(traced(module)).save(tmp_path / "frozen.pt")
    assert_refused(tmp_path / "frozen.pt", "frozen", "before torch.jit.freeze")


def test_torch_is_not_needed(module, container, tmp_path):
    save(module.state_dict(), tmp_path / "w.pth", container)
    traced(module).save(tmp_path / "w.pt")
    code = (
        "import sys\n"
        "from convert_torch_weights.readers import read_checkpoint\n"
        "for path in sys.argv[1:]:\n"
        "    read_checkpoint(path)\n"
        "assert 'torch' not in sys.modules\n"
    )
    paths = [str(tmp_path / "w.pth"), str(tmp_path / "w.pt")]
    subprocess.run([sys.executable, "-c", code, *paths], cwd=ROOT, check=True)


# --- Files that are something else, or not whole --------------------------------------


def test_missing_and_folder_and_device(tmp_path):
    assert_refused(tmp_path / "none.pth", "no such file")
    assert_refused(tmp_path, "is a folder", "unpacked")
    os.mkfifo(tmp_path / "pipe.pth")
    assert_refused(tmp_path / "pipe.pth", "not a regular file")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["is empty", "download it again"]),
        (b"\n<!DOCTYPE html><html>...", ["web page", "25 bytes", "browser"]),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", ["web page"]),
        (b"version https://git-lfs.github.com/spec/v1\noid", ["Git LFS pointer"]),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), ["damaged HDF5", "download it"]),
        (bytes(64) + bytes.fromhex("57fb808b247547db"), ["TensorFlow"]),
        (b'model_checkpoint_path: "model-1"', ["TensorFlow"]),
        (struct.pack("<Q", 2) + b"{}", ["safetensors"]),
        (pickle.dumps({"a": [1, 2]}), ["plain Python pickle", "torch.save"]),
        (pickle.dumps(np.zeros(3)), ["torch.save did not write", "multiarray"]),
        (b"\x1f\x8b\x08 archive", ["not a PyTorch checkpoint", r"b'\x1f\x8b\x08 "]),
        (b"hello", ["not a PyTorch checkpoint", "b'hello'"]),
        (MAGIC_PICKLE + pickle.dumps(1000, protocol=2), ["another version than 1001"]),
    ],
)
def test_other_kinds_of_file(content, parts, tmp_path):
    path = tmp_path / "download.pth"
    path.write_bytes(content)
    assert_refused(path, *parts)


def test_tensorflow_data_file(tmp_path):
    path = tmp_path / "model.data-00000-of-00001"
    path.write_bytes(bytes(100))
    assert_refused(path, "TensorFlow")


def test_other_zip_archives(tmp_path):
    path = tmp_path / "weights.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("wav2lip.pth", b"x")
    assert_refused(path, "no data.pkl", "'wav2lip.pth'", "unpack it first")


def test_truncated_archive(module, tmp_path):
    path = save(module.state_dict(), tmp_path / "w.pth")
    path.write_bytes(path.read_bytes()[:-30])
    size = path.stat().st_size
    assert_refused(path, "cut short", f"{size} bytes", "download it again")


def test_truncated_stream(module, tmp_path):
    path = save(module.state_dict(), tmp_path / "w.pth", "legacy")
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert_refused(path, "cut short", f"{len(content) - 1} bytes of {len(content)}")
    path.write_bytes(content[: len(content) // 3])
    assert_refused(path, "cut short", "download it again")


def test_damaged_storage(container, tmp_path):
    path = save({"w": torch.full((4,), 7.0)}, tmp_path / "w.pth", container)
    content = path.read_bytes()
    values = struct.pack("<4f", 7, 7, 7, 7)
    if container == "zip":  # its checksum betrays a changed value
        path.write_bytes(content.replace(values, struct.pack("<4f", 7, 7, 7, 8)))
        assert_refused(path, "damaged zip archive", "CRC")
    else:
        count = struct.pack("<q", 4)
        path.write_bytes(
            content.replace(count + values, bytes([5, *count[1:]]) + values)
        )
        assert_refused(path, "damaged", "storage of 4 values", "count 5")


def test_archive_without_one_of_its_storages(tmp_path):
    path = save({"w": torch.zeros(4)}, tmp_path / "w.pth")
    with zipfile.ZipFile(path) as archive:
        data = archive.read("w/data.pkl")
    assert_refused(write_archive(path, data, {}), "'data/0' is missing")
    path = write_archive(path, data, {"data/0": bytes(12)})
    assert_refused(path, "'data/0' has 12 bytes, expected 16")


@pytest.mark.parametrize(
    ("entries", "parts"),
    [
        ([torch.zeros(1)], ["holds a list", "dictionary"]),
        ({"epoch": 1}, ["under 'state_dict'", "found the entries 'epoch'"]),
        (
            {"netG": {"w": [1]}, "netD": {"layer": {"w": torch.zeros(1)}}},
            ["found the entries 'netG', 'netD'"],
        ),
        ({"state_dict": {"w": [1]}}, ["found the entries 'state_dict'"]),
        ({}, ["found the entries (none)"]),
    ],
)
def test_checkpoints_without_weights(entries, parts, container, tmp_path):
    path = save(entries, tmp_path / "other.pth", container)
    assert_refused(path, *parts)


def test_whole_pickled_module_is_refused_by_its_class(module, container, tmp_path):
    path = save(module, tmp_path / "module.pth", container)
    assert_refused(path, "torch.nn.modules.container.Sequential", "state_dict()")


# --- Hostile files --------------------------------------------------------------------

TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000NK\x04tQ"
STUB = b"c__torch__\nNet\n)\x81"


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """A command that makes a file, which must not exist when the test is over."""
    monkeypatch.chdir(tmp_path)
    yield "touch canary"
    assert not (tmp_path / "canary").exists()


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def wrap(data: bytes, kind: str, path: Path) -> Path:
    """A file of some kind whose object is given as a pickle."""
    if kind == "pickle":
        path.write_bytes(data)
    elif kind == "legacy":
        header = MAGIC_PICKLE + pickle.dumps(1001) + pickle.dumps({})
        path.write_bytes(header + data + pickle.dumps([]))
    else:
        members = {"constants.pkl": b"\x80\x02)."} if kind == "torchscript" else {}
        write_archive(path, data, {**members, "data/0": bytes(16)})
    return path


KINDS = ["pickle", "legacy", "zip", "torchscript"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", ["system", "eval"])
def test_calls_are_refused_by_name(name, protocol, kind, canary, tmp_path):
    if name == "system":
        call = Call(os.system, canary)
        expected = f"names {os.system.__module__}.system"
    else:
        call = Call(eval, f"__import__('os').system({canary!r})")
        expected = "eval"  # of builtins, or __builtin__ in old protocols
    data = pickle.dumps(call, protocol)
    assert_refused(wrap(data, kind, tmp_path / "evil.pth"), expected, "nothing was exe")


@pytest.mark.parametrize("kind", ["legacy", "zip", "torchscript"])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # As a class, an instance of the old kind, and an object of the old kind.
        (b"\x80\x02cos\nsystem\n)\x81.", "os.system"),
        (b"(X\x0c\x00\x00\x00touch canaryios\nsystem\n.", "os.system"),
        (b"(cos\nsystem\nX\x0c\x00\x00\x00touch canaryo.", "os.system"),
        # Neighbours of permitted names.
        (b"\x80\x02ctorch._utils\n_import_dotted_name\n.", "_import_dotted_name"),
        (b"\x80\x02ctorch.hub\nload\n.", "torch.hub.load"),
        (b"\x80\x02ccollections\nOrderedDict.fromkeys\n.", "OrderedDict.fromkeys"),
        (b"\x80\x02cbuiltins\ngetattr\n.", "builtins.getattr"),
        (b"\x80\x02c__torch__\n../\x1b[31m\n.", ""),
        # As the class of a storage, and instead of a whole reference.
        (b"\x80\x02(X\x07\x00\x00\x00storagecos\nsystem\nNNNtQ.", "os.system"),
        (b"\x80\x02cos\nsystem\nX\x0c\x00\x00\x00touch canary\x85RQ.", "os.system"),
        # Through the extension registry.
        (b"\x80\x02\x82\x01X\x0c\x00\x00\x00touch canary\x85R.", "EXT1"),
        # Permitted names in roles that are not theirs.
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "damaged"),
        (b"\x80\x02ctorch\nFloatStorage\n)\x81.", "damaged"),
        (TENSOR + b"}X\x0c\x00\x00\x00__defaults__)sb.", "damaged"),
        (b"\x80\x02X\x01\x00\x00\x00aX\x01\x00\x00\x00bQ.", "damaged"),
    ],
)
def test_forbidden_operations(data, expected, kind, canary, tmp_path):
    assert_refused(wrap(data, kind, tmp_path / "evil.pth"), expected)


def test_call_hidden_among_torchscript_attributes(canary, tmp_path):
    attributes = pickle.dumps({"w": Call(os.system, canary)}, 2)[2:-1]
    data = b"\x80\x02" + STUB + attributes + b"b."
    path = wrap(data, "torchscript", tmp_path / "evil.pt")
    assert_refused(path, f"{os.system.__module__}.system")


def test_torchscript_names_only_in_torchscript_archives(tmp_path):
    path = wrap(b"\x80\x02" + STUB + b".", "zip", tmp_path / "evil.pth")
    assert_refused(path, "names __torch__.Net")


def test_names_cannot_drive_the_terminal(tmp_path):
    path = wrap(b"\x80\x02c\x1b[31m\nx\n.", "zip", tmp_path / "evil.pth")
    assert_refused(path, r"\x1b[31m")
    path = save({"a\x1b[31m": torch.zeros(1)}, tmp_path / "evil.pth")
    assert_refused(path, r"'a\x1b[31m'", "malformed")


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "expected"),
    [
        (0, (5,), (1,), "reaches beyond"),
        (1, (4,), (1,), "reaches beyond"),
        (0, (2, 2), (3, 1), "reaches beyond"),
        (0, (1000, 1000), (0, 0), "reaches beyond"),
        (2**70, (1,), (1,), "reaches beyond"),
        (-1, (1,), (1,), "impossible shape"),
        (3, (4,), (-1,), "impossible shape"),
        (0, (2,), (1, 1), "impossible shape"),
        (0, (0, 2**50), (1, 1), "impossible shape"),
        (0, (1,) * 65, (1,) * 65, "impossible shape"),
        (0, ("4",), (1,), "impossible shape"),
        (0, "4", "1", "impossible shape"),
    ],
)
def test_tensors_stay_inside_their_storage(offset, shape, strides, expected, tmp_path):
    view = b"".join(pickle.dumps(value, 2)[2:-1] for value in (offset, shape, strides))
    data = (
        b"\x80\x02}X\x01\x00\x00\x00w" + TENSOR + b"(" + STORAGE + view + b"\x89NtRs."
    )
    assert_refused(wrap(data, "zip", tmp_path / "evil.pth"), expected)


def test_axis_of_length_one_may_have_any_stride(tmp_path):
    view = b"".join(pickle.dumps(value, 2)[2:-1] for value in (0, (1, 4), (2**70, 1)))
    data = (
        b"\x80\x02}X\x01\x00\x00\x00w" + TENSOR + b"(" + STORAGE + view + b"\x89NtRs."
    )
    path = wrap(data, "zip", tmp_path / "odd.pth")
    assert_equal(read_checkpoint(path).tensors, {"w": torch.zeros(1, 4)})


def nested_tuple(depth: int) -> bytes:
    return b")" + b"\x85" * depth


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"]q\x00h\x00a.", "zip"),  # a list in itself
        (b"}q\x00X\x01\x00\x00\x00ah\x00s.", "zip"),
        (b"}q\x00X\x0a\x00\x00\x00state_dicth\x00s.", "zip"),
        (b"]q\x00h\x00a.", "torchscript"),
        (
            STUB + b"q\x00}X\x01\x00\x00\x00ah\x00sb.",
            "torchscript",
        ),  # a module in itself
        (b"}" + nested_tuple(1_000_000) + b"Ns.", "zip"),  # as a key
        (nested_tuple(1_000_000) + b".", "zip"),
        (b"]" * 10_000 + b"a" * 9_999 + b".", "legacy"),
        (b"}" * 3_000_000 + b".", "zip"),
        (b"Nr\xff\xff\xff\xff.", "zip"),  # the four-billionth memo
        (b"X\xff\xff\xff\xff", "zip"),  # a string of four billion letters
        (b"\x80\x04\x8d" + b"\xff" * 8, "legacy"),
        (b"(" * 1000 + b"t" * 1001, "zip"),
        (b"R.", "zip"),
        (b".", "zip"),
        (b"", "zip"),
    ],
)
def test_absurd_structures(data, kind, tmp_path):
    assert_refused(wrap(b"\x80\x02" + data, kind, tmp_path / "evil.pth"))


def test_small_pickles_cannot_ask_for_quadratic_work(tmp_path):
    """A list of 100 000 pairs, made a dictionary 100 000 times."""
    pairs = b"](" + b"(X\x01\x00\x00\x00aNt" * 100_000 + b"e\x85q\x00"
    calls = b"ccollections\nOrderedDict\nq\x01" + b"h\x01h\x00R" * 100_000
    path = wrap(b"\x80\x02" + pairs + calls + b".", "zip", tmp_path / "evil.pth")
    assert_refused(path, "more than 2000000 operations")


def test_huge_numbers_are_no_keys(tmp_path):
    """Multiples of 2**61 - 1 share one hash; a dictionary of them takes for ever."""
    data = pickle.dumps({2**64 * (2**61 - 1): torch.Size([])}, protocol=2)
    assert_refused(wrap(data, "zip", tmp_path / "evil.pth"), "makes no sense")


def test_modules_that_contain_the_next_one_twice(tmp_path):
    """A tree of 2**40 modules in 40 objects."""
    data = STUB
    for level in range(40):
        put, get = b"q" + bytes([level]), b"h" + bytes([level])
        data += put + STUB + b"}(X\x01\x00\x00\x00a" + get + b"X\x01\x00\x00\x00b" + get
        data += b"ub"
    path = wrap(b"\x80\x02" + data + b".", "torchscript", tmp_path / "evil.pt")
    assert_refused(path, "endlessly nested")


def test_module_in_itself_under_a_long_name(tmp_path):
    name = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000
    data = b"\x80\x02" + STUB + b"q\x00}" + name + b"h\x00sb."
    path = wrap(data, "torchscript", tmp_path / "evil.pt")
    assert_refused(path, "endlessly nested")


def test_compressed_members_are_refused(module, tmp_path):
    path = save(module.state_dict(), tmp_path / "w.pth")
    with (
        zipfile.ZipFile(path) as archive,
        zipfile.ZipFile(tmp_path / "d.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))
    assert_refused(tmp_path / "d.pth", "'data.pkl' is compressed", "zip -0")


def test_members_that_declare_more_than_the_file(tmp_path):
    path = save({"w": torch.zeros(4)}, tmp_path / "w.pth")
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"w/data/0") - 46  # in the archive's list of members
    content[entry + 20 : entry + 28] = struct.pack("<II", 2**31, 2**31)
    path.write_bytes(content)
    assert_refused(path, "overlap")


# --- Random damage --------------------------------------------------------------------


def read_or_refuse(path: Path) -> bool:
    """Whether the file could be read. Anything but CheckpointError is a failure."""
    try:
        checkpoint = read_checkpoint(path)
    except CheckpointError:
        return False
    for array in checkpoint.tensors.values():
        array.tobytes()
    return True


@pytest.fixture(params=["zip", "legacy", "torchscript"])
def small_file(request, tmp_path) -> Path:
    torch.manual_seed(1)
    layer = torch.nn.Linear(2, 3)
    path = tmp_path / "w.pth"
    if request.param == "torchscript":
        torch.jit.trace(layer, torch.zeros(1, 2)).save(path)
        return path
    entries = adam_entries(2, old_keys=False) | {"state_dict": layer.state_dict()}
    return save(entries, path, request.param)


def test_truncated_at_any_position(small_file):
    content = small_file.read_bytes()
    for size in range(0, len(content), max(1, len(content) // 300)):
        small_file.write_bytes(content[:size])
        assert not read_or_refuse(small_file), f"read from {size} of {len(content)}"


def test_flipped_bytes(small_file):
    content = small_file.read_bytes()
    rng = random.Random(0)
    for _ in range(1500):
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= rng.randrange(1, 256)
        small_file.write_bytes(changed)
        read_or_refuse(small_file)


@pytest.mark.parametrize("kind", ["zip", "torchscript"])
def test_flipped_bytes_behind_a_valid_checksum(module, kind, tmp_path):
    path = tmp_path / "w.pth"
    if kind == "zip":
        save(module.state_dict(), path)
    else:
        traced(module).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {n.partition("/")[2]: archive.read(n) for n in archive.namelist()}
    data = members.pop("data.pkl")
    rng = random.Random(0)
    for _ in range(1000):
        changed = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            changed[rng.randrange(len(data))] = rng.randrange(256)
        read_or_refuse(write_archive(path, bytes(changed), members))
