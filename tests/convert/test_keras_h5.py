"""HDF5 files: those that Keras writes, broken ones, and hostile ones."""

import random
import struct
import subprocess
import sys

import h5py
import numpy as np
import pytest
from keras_writer import save, save_weights, write_layers, write_names

from convert_torch_weights.readers import keras_h5, read_checkpoint
from lipsync_jax.errors import CheckpointError

NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def small_layers() -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    arrays = {
        "conv2d_1": {"kernel": (3, 3, 2, 4), "bias": (4,)},
        "activation_1": {},
        "batch_normalization_1": {name: (4,) for name in NORM},
    }
    return {
        layer: {
            f"{layer}/{name}:0": rng.random(shape, np.float32)
            for name, shape in shapes.items()
        }
        for layer, shapes in arrays.items()
    }


LAYERS = small_layers()
EXPECTED = {
    name.removesuffix(":0"): value
    for weights in LAYERS.values()
    for name, value in weights.items()
}
KERNEL = "conv2d_1/conv2d_1/kernel:0"


@pytest.fixture
def path(tmp_path):
    """A sound file, to be spoilt."""
    return save_weights(tmp_path / "small.h5", LAYERS)


def assert_equal(tensors, expected):
    """Same names in the same order, same values, float32."""
    assert list(tensors) == list(expected)
    for name, value in expected.items():
        assert tensors[name].dtype == np.float32
        np.testing.assert_array_equal(tensors[name], value, err_msg=name)


def assert_refused(path, *parts):
    """Refused in one line, which names the file and contains the parts."""
    with pytest.raises(CheckpointError) as raised:
        read_checkpoint(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    for part in parts:
        assert part in message


# --- Files that Keras writes ----------------------------------------------------------


@pytest.mark.parametrize("write", [save_weights, save])
def test_published_layouts(write, tmp_path):
    checkpoint = read_checkpoint(write(tmp_path / "a b.h5", LAYERS))
    assert checkpoint.container == "keras"
    assert_equal(checkpoint.tensors, EXPECTED)
    assert not any(array.flags.writeable for array in checkpoint.tensors.values())


def test_the_name_of_the_file_means_nothing(path):
    assert_equal(
        read_checkpoint(path.rename(path.with_suffix(".pth"))).tensors, EXPECTED
    )


def test_layers_are_in_the_order_of_the_list(tmp_path):
    """HDF5's own order is alphabetical."""
    backwards = dict(reversed(LAYERS.items()))
    tensors = read_checkpoint(save_weights(tmp_path / "w.h5", backwards)).tensors
    assert next(iter(tensors)) == "batch_normalization_1/gamma"


def test_model_in_a_model_has_one_group(tmp_path):
    weights = {
        name: value for layer in LAYERS.values() for name, value in layer.items()
    }
    layers = {"input_1": {}, "model_1": weights, "model_2": weights}
    tensors = read_checkpoint(save(tmp_path / "comb.h5", layers)).tensors
    expected = {f"model_1/{name}": value for name, value in EXPECTED.items()}
    expected |= {f"model_2/{name}": value for name, value in EXPECTED.items()}
    assert_equal(tensors, expected)


def test_long_lists_are_split(path):
    with h5py.File(path, "a") as file:
        names = list(LAYERS)
        del file.attrs["layer_names"]
        write_names(file, "layer_names0", names[:2])
        write_names(file, "layer_names1", names[2:])
    assert_equal(read_checkpoint(path).tensors, EXPECTED)


def test_strings_of_variable_length(path):
    with h5py.File(path, "a") as file:
        text = h5py.string_dtype()
        file.attrs.create("backend", "tensorflow", dtype=text)
        for group, name in [(file, "layer_names"), (file["conv2d_1"], "weight_names")]:
            names = [item.decode() for item in group.attrs[name]]
            group.attrs.create(name, names, dtype=text)
    assert_equal(read_checkpoint(path).tensors, EXPECTED)


@pytest.mark.parametrize("version", ["earliest", "latest"])
def test_versions_and_byte_orders_of_hdf5(version, tmp_path):
    layers = {
        layer: {name: value.astype(">f4") for name, value in weights.items()}
        for layer, weights in LAYERS.items()
    }
    with h5py.File(tmp_path / "w.h5", "w", libver=version) as file:
        write_layers(file, layers)
    assert_equal(read_checkpoint(tmp_path / "w.h5").tensors, EXPECTED)


def test_reading_needs_no_keras(path):
    code = (
        "import sys\n"
        "from convert_torch_weights.readers import read_checkpoint\n"
        "read_checkpoint(sys.argv[1])\n"
        "sys.exit(bool({'tensorflow', 'keras', 'torch'} & set(sys.modules)))\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


# --- Files that are something else, or not whole --------------------------------------


def test_cut_short(path):
    content = path.read_bytes()
    for size in (10, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        assert_refused(path, "HDF5 file", "download it again")
    assert_refused(path, "is cut short")


def test_other_hdf5_files(tmp_path):
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros(3)
    assert_refused(path, "no layer_names", "it holds 'images'", "model.save_weights")


def test_other_backends(path):
    with h5py.File(path, "a") as file:
        file.attrs["backend"] = np.bytes_("theano")
    assert_refused(path, "Keras on 'theano'", "save it from there")


def test_no_weights(tmp_path):
    path = save_weights(tmp_path / "empty.h5", {"input_1": {}})
    assert_refused(path, "without weights")


@pytest.mark.parametrize("lost", ["conv2d_1", KERNEL])
def test_missing_parts(path, lost):
    with h5py.File(path, "a") as file:
        del file[lost]
    assert_refused(path, "is missing, or links elsewhere")


def test_listed_twice(path):
    with h5py.File(path, "a") as file:
        write_names(file, "layer_names", [*LAYERS, "conv2d_1"])
    assert_refused(path, "lists conv2d_1/kernel twice")


# --- Hostile files --------------------------------------------------------------------


def replaced(path, **options):
    """The file with another array in the kernel's place."""
    with h5py.File(path, "a") as file:
        del file[KERNEL]
        file.create_dataset(KERNEL, **options)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"data": np.zeros((1000, 1000), np.float32), "compression": 9}, "compressed"),
        ({"data": np.zeros((8, 8), np.float32), "chunks": (2, 2)}, "in pieces"),
        ({"shape": (2**40, 2**20), "dtype": "f4"}, "is empty"),
        ({"shape": (2,), "dtype": "f4", "external": "/etc/passwd"}, "another file"),
        ({"data": np.zeros(3)}, "stored as float64"),
        ({"data": np.zeros(3, "S4")}, "stored as |S4"),
        ({"data": ["text"]}, "stored as object"),
        ({"data": np.zeros(3, "f4,i4")}, "expected float32"),
    ],
)
def test_arrays_that_keras_never_writes(path, options, part):
    replaced(path, **options)
    assert_refused(path, "its conv2d_1/kernel", part)


def test_virtual_array(path):
    with h5py.File(path, "a") as file:
        del file[KERNEL]
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource("other.h5", "secret", (4,))
        file.create_virtual_dataset(KERNEL, layout)
    assert_refused(path, "in another file")


@pytest.mark.parametrize(
    "link",
    [
        h5py.ExternalLink("other.h5", "/secret"),
        h5py.SoftLink("/batch_normalization_1"),
        h5py.SoftLink("/conv2d_1"),  # to itself
        h5py.SoftLink("/nowhere"),
    ],
)
@pytest.mark.parametrize("place", ["conv2d_1", KERNEL])
def test_links_are_not_followed(path, link, place):
    with h5py.File(path.with_name("other.h5"), "w") as file:
        file["secret"] = np.zeros(3, np.float32)
    with h5py.File(path, "a") as file:
        del file[place]
        file[place] = link
    assert_refused(path, "links elsewhere")


def test_group_in_itself(path):
    with h5py.File(path, "a") as file:
        file["conv2d_1/round"] = file["conv2d_1"]
        write_names(file["conv2d_1"], "weight_names", ["round/" * 30 + "conv2d_1"])
    assert_refused(path, "is not an array")


@pytest.mark.parametrize("name", ["../conv2d_1", "/etc", ".", "", "conv2d_1//."])
def test_names_stay_inside(path, name):
    with h5py.File(path, "a") as file:
        text = h5py.string_dtype()
        file.attrs.create("layer_names", ["activation_1", name], dtype=text)
    assert_refused(path, "is missing, or links elsewhere")


@pytest.mark.parametrize(
    "value",
    [
        3.0,
        np.zeros(4),
        np.array([b"x"] * 5000),
        np.array([b"x" * 300]),
        np.array([b"\x1b[2J"]),
        np.array([b"\xff\xfe"]),
    ],
)
def test_lists_that_are_none(path, value):
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = value
    assert_refused(path, "damaged")


def test_arrays_that_share_their_bytes(tmp_path):
    """A small file that would fill the memory."""
    path = tmp_path / "many.h5"
    value = np.zeros((100, 100), np.float32)
    with h5py.File(path, "w") as file:
        file["first"] = value
        layers = [f"conv2d_{number}" for number in range(50)]
        for layer in layers:
            group = file.create_group(layer)
            write_names(group, "weight_names", [f"{layer}/kernel:0"])
            group[f"{layer}/kernel:0"] = file["first"]
        write_names(file, "layer_names", layers)
    assert_refused(path, "reaches beyond", "bytes")


def test_shape_beyond_the_file(path):
    content = path.read_bytes()
    shape = struct.pack("<4Q", 3, 3, 2, 4)
    assert content.count(shape) == 2  # and its maximum
    path.write_bytes(content.replace(shape, struct.pack("<4Q", 3, 3, 2, 2**40)))
    assert_refused(path, "damaged")


def test_names_that_share_their_bytes(path):
    """A list of a thousand references to one text of four megabytes."""
    size = 4 << 20
    with h5py.File(path, "a") as file:
        names = ["x" * size, *["y"] * 1000]
        file.attrs.create("layer_names", names, dtype=h5py.string_dtype())
    content = path.read_bytes()
    start = struct.pack("<I", size)
    # Length, address of the texts, number of the text there.
    at = content.index(start)
    while content[at + 16 : at + 20] != struct.pack("<I", 1):
        at = content.index(start, at + 1)
    references = content[at : at + 16] * 1001
    path.write_bytes(content[:at] + references + content[at + len(references) :])
    assert_refused(path, "damaged HDF5 file", "memory")


def test_reader_that_does_not_end(path, monkeypatch, tmp_path):
    endless = tmp_path / "endless.py"
    endless.write_text("while True: pass")
    monkeypatch.setattr(keras_h5, "_LISTING", endless)
    monkeypatch.setattr(keras_h5, "_SECONDS", 0.5)
    assert_refused(path, "not understood after 0.5 s")


def test_reader_that_crashes(path, monkeypatch, tmp_path):
    crash = tmp_path / "crash.py"
    crash.write_text("import os; os.abort()")
    monkeypatch.setattr(keras_h5, "_LISTING", crash)
    assert_refused(path, "its reader ended with -6")


def test_flipped_bytes(path, monkeypatch):
    monkeypatch.setattr(keras_h5, "_SECONDS", 5)
    content = path.read_bytes()
    rng = random.Random(0)
    for _ in range(20):
        changed = bytearray(content)
        for _ in range(5):
            changed[rng.randrange(len(content))] ^= rng.randrange(1, 256)
        path.write_bytes(changed)
        try:
            read_checkpoint(path)
        except CheckpointError as error:
            assert str(error).isprintable()
