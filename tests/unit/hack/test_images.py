"""Images made without Docker: the same input is the same image to the byte, and archives hold what they name."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcluster import archive, recipes
from localcluster.archive import Recipe
from localcluster.layers import Blob, Entry, Store, tree, write_layer


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.37", "docker.io/library/busybox:1.37"),
        ("runabout/steps:dev", "docker.io/runabout/steps:dev"),
        ("registry.example/steps", "registry.example/steps:latest"),
        ("localhost/steps:1", "localhost/steps:1"),
        ("host:5000/steps", "host:5000/steps:latest"),
        ("steps@sha256:abc", "docker.io/library/steps@sha256:abc"),
    ],
)
def test_a_name_is_the_one_under_which_runtimes_keep_an_image(name: str, full: str) -> None:
    assert archive.full_name(name) == full
    assert archive.full_name(full) == full


PATHS = st.lists(st.sampled_from(["a", "b", "a b", "é"]), min_size=1, max_size=3).map("/".join)
ENTRIES = st.dictionaries(PATHS, st.binary(max_size=20), max_size=6)


def layer(entries: list[Entry]) -> tuple[Blob, bytes]:
    sink = io.BytesIO()
    return write_layer(entries, sink), sink.getvalue()


@given(ENTRIES, st.randoms())
def test_a_layer_is_the_same_in_any_order_and_has_every_folder_before_what_is_in_it(
    contents: dict[str, bytes], random: object
) -> None:
    files = {path: data for path, data in contents.items() if not any(f"{path}/" in f"{other}" for other in contents)}
    entries = [Entry(path=path, content=data) for path, data in files.items()]
    blob, data = layer(entries)
    random.shuffle(entries)  # type: ignore[attr-defined] # a random.Random
    assert layer(entries) == (blob, data)
    assert blob == Blob(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
    seen: set[str] = set()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            parent = Path(member.name).parent.as_posix()
            assert parent == "." or parent in seen
            assert member.mtime == 0
            seen.add(member.name)
            if member.isfile():
                content = tar.extractfile(member)
                assert content is not None
                assert content.read() == files[member.name]
    assert files.keys() <= seen


def test_a_tree_keeps_modes_and_links_and_leaves_out_what_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tool").write_text("x")
    (tmp_path / "bin" / "tool").chmod(0o755)
    (tmp_path / "bin" / "link").symlink_to("tool")
    (tmp_path / "waste" / "deep").mkdir(parents=True)
    (tmp_path / "waste" / "deep" / "file").touch()
    found = {entry.path: entry for entry in tree(tmp_path, at="opt", leave_out=lambda path: path == "waste")}
    assert set(found) == {"opt/bin", "opt/bin/tool", "opt/bin/link"}
    assert found["opt/bin/tool"].mode == 0o755
    assert found["opt/bin/link"].link == "tool"


def test_a_layer_is_made_once_for_what_goes_in_and_again_when_its_blob_is_lost(tmp_path: Path) -> None:
    store, made = Store(tmp_path), list[Path]()

    def make(scratch: Path) -> list[Entry]:
        made.append(scratch)
        return [Entry(path="a", content=b"x")]

    first = store.layer("key", make)
    assert store.layer("key", make) == first
    assert len(made) == 1
    assert store.layer("another key", make) == first
    store.path(first.digest).unlink()
    assert store.layer("key", make) == first
    assert len(made) == 3
    assert not any(scratch.exists() for scratch in made)
    assert not list(tmp_path.rglob(".draft-*"))


def test_an_image_is_found_under_its_name_while_all_of_it_is_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    blob = store.put_layer([Entry(path="a", content=b"x")])
    image = archive.assemble(store, "runabout/steps:dev", [blob], Recipe(command=("sh",)))
    assert archive.find(store, "runabout/steps:dev") == image
    assert archive.find(store, "docker.io/runabout/steps:dev") == image
    assert archive.find(store, "runabout/other:dev") is None
    store.path(blob.digest).unlink()
    assert archive.find(store, "runabout/steps:dev") is None


def test_an_archive_holds_what_it_names_and_only_what_is_wanted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    blob = store.put_layer([Entry(path="a", content=b"x")])
    recipe = Recipe(entrypoint=("/bin/sh",), user="65532", environment={"A": "b"})
    image = archive.assemble(store, "runabout/steps:dev", [blob, blob], recipe)
    sink = io.BytesIO()
    written = archive.write(store, image, sink)
    with tarfile.open(fileobj=io.BytesIO(sink.getvalue())) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    assert written == sum(len(data) for name, data in files.items() if name.startswith("blobs/"))
    for name, data in files.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
    (entry,) = json.loads(files["manifest.json"])
    assert entry["RepoTags"] == ["runabout/steps:dev"]
    assert {entry["Config"], *entry["Layers"]} <= files.keys()
    config = json.loads(files[entry["Config"]])["config"]
    assert (config["Entrypoint"], config["User"], config["Env"]) == (["/bin/sh"], "65532", ["A=b"])
    part = io.BytesIO()
    archive.write(store, image, part, wanted=lambda digest: digest == image.manifest.digest)
    with tarfile.open(fileobj=io.BytesIO(part.getvalue())) as tar:
        names = tar.getnames()
    assert "manifest.json" not in names
    assert [name for name in names if name.startswith("blobs/")] == [
        f"blobs/sha256/{image.manifest.digest.removeprefix('sha256:')}"
    ]


def test_the_digest_of_sources_changes_with_names_bytes_and_modes(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("x")
    seen = [recipes.source_digest(tmp_path)]
    assert recipes.source_digest(tmp_path) == seen[0]
    file.write_text("y")
    seen.append(recipes.source_digest(tmp_path))
    file.chmod(0o755)
    seen.append(recipes.source_digest(tmp_path))
    file.rename(tmp_path / "b.py")
    seen.append(recipes.source_digest(tmp_path))
    assert len(set(seen)) == len(seen)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "b.pyc").touch()
    assert recipes.source_digest(tmp_path, leave_out=recipes.is_python_waste) == seen[-1]
