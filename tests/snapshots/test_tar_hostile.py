"""Tars made to write outside, to fill the disk or the memory, or to confuse: all are refused."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from limpet.errors import LimpetError, TarDamagedError, TarUnsafeError
from limpet.snapshots import tar_format as tf
from limpet.snapshots.names import TarLimits
from limpet.snapshots.tar_read import TarVerifier, extract_tar

REG, SYM, LNK, DIR = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
CHR, BLK, FIFO = tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE
Entry = tuple[str, bytes, str, bytes]


def tar(*entries: Entry | bytes) -> bytes:
    """A whole tar; bytes are put in as they are."""
    out = b""
    for entry in entries:
        if isinstance(entry, bytes):
            out += entry
            continue
        name, kind, link, data = entry
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, link, len(data)
        out += info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        out += data + bytes(-len(data) % 512)
    return out + bytes(1024)


def file(name: str, data: bytes = b"x") -> Entry:
    return name, REG, "", data


def raw(name: bytes, size: int = 0, kind: bytes = b"0", link: bytes = b"") -> bytes:
    return tf.header(name, 0o644, size, 0, kind, link)


def pax(**records: bytes) -> bytes:
    return tf.pax_member(
        b"x", b"".join(tf.pax_record(k.replace("__", ".").encode(), v) for k, v in records.items())
    )


def pax_global(**records: bytes) -> bytes:
    return tf.pax_member(b"g", b"".join(tf.pax_record(k.encode(), v) for k, v in records.items()))


def sparse_1_0(table: bytes, size: int, real: bytes) -> bytes:
    records = pax(
        GNU__sparse__major=b"1", GNU__sparse__minor=b"0",
        GNU__sparse__name=b"f", GNU__sparse__realsize=real,
    )  # fmt: skip
    return records + raw(b"f", size) + table.ljust(512, b"\0")


HOSTILE: dict[str, bytes] = {
    "parent": tar(file("../escaped")),
    "parent deep": tar(("repo", DIR, "", b""), file("repo/../../escaped")),
    "parent as folder": tar(("..", DIR, "", b"")),
    "parent with slash": tar(("../", DIR, "", b"")),
    "dot inside": tar(file("a/./b")),
    "double slash": tar(file("a//b")),
    "dot slash twice": tar(file("././b")),
    "absolute": tar(raw(b"/tmp/limpet-escaped")),
    "absolute folder": tar(raw(b"/", kind=b"5")),
    "absolute after dot": tar(raw(b".//tmp/escaped")),
    "absolute by pax": tar(pax(path=b"/tmp/limpet-escaped"), raw(b"fine")),
    "parent by pax": tar(pax(path=b"../escaped"), raw(b"fine")),
    "parent by gnu long name": tar(
        raw(b"@", 11, b"L"), b"../escaped\0".ljust(512, b"\0"), raw(b"x")
    ),
    "parent by sparse name": tar(
        pax(GNU__sparse__name=b"../f", GNU__sparse__major=b"1", GNU__sparse__realsize=b"0"),
        raw(b"f", 512), b"0\n".ljust(512, b"\0"),
    ),
    "nul by pax": tar(pax(path=b"a\0b"), raw(b"fine")),
    "nul in a symlink": tar(pax(linkpath=b"a\0b"), raw(b"l", kind=b"2", link=b"x")),
    "empty name": tar(raw(b"")),
    "empty pax name": tar(pax(path=b""), raw(b"x")),
    "empty symlink": tar(raw(b"l", kind=b"2")),
    "long part": tar(pax(path=b"n" * 256), raw(b"x")),
    "long parent part": tar(pax(path=b"n" * 256 + b"/x"), raw(b"x")),
    "through a symlink": tar(("link", SYM, "/tmp", b""), file("link/limpet-escaped")),
    "through a symlink to a folder": tar(
        ("dir", DIR, "", b""), ("link", SYM, "dir", b""), file("link/inner")
    ),
    "deep through a symlink": tar(("link", SYM, "..", b""), file("link/a/b/c")),
    "symlink becomes folder": tar(("a", SYM, "/tmp", b""), ("a", DIR, "", b""), file("a/escaped")),
    "folder becomes symlink": tar(("a", DIR, "", b""), ("a", SYM, "/tmp", b""), file("a/escaped")),
    "implied folder becomes symlink": tar(file("a/b"), ("a", SYM, "/tmp", b"")),
    "implied folder becomes file": tar(file("a/b"), file("a")),
    "hard link out": tar(("passwd", LNK, "../../../../etc/passwd", b"")),
    "hard link absolute": tar(raw(b"passwd", kind=b"1", link=b"/etc/passwd")),
    "hard link to nothing": tar(("a", LNK, "b", b"")),
    "hard link to later": tar(("a", LNK, "b", b""), file("b")),
    "hard link to itself": tar(("a", LNK, "a", b"")),
    "hard link to a folder": tar(("d", DIR, "", b""), ("a", LNK, "d", b"")),
    "hard link to the root": tar(("a", LNK, "./", b"")),
    "hard link through a symlink": tar(("l", SYM, "/etc", b""), ("a", LNK, "l/passwd", b"")),
    "hard link through dots": tar(file("f"), ("d", DIR, "", b""), ("a", LNK, "d/../f", b"")),
    "hard link with content": tar(file("f"), ("a", LNK, "f", b"overwrite")),
    "symlink with content": tar(("a", SYM, "f", b"content")),
    "folder with content": tar(("a", DIR, "", b"content")),
    "character device": tar(("null", CHR, "", b"")),
    "block device": tar(("disk", BLK, "", b"")),
    "fifo": tar(("pipe", FIFO, "", b"")),
    "root as symlink": tar((".", SYM, "/tmp", b"")),
    "root as symlink with slash": tar(raw(b"./", kind=b"2", link=b"/tmp")),
    "root as file": tar(raw(b".")),
    "root as hard link": tar(file("f"), raw(b"./", kind=b"1", link=b"f")),
    "root twice": tar(("./", DIR, "", b""), ("./", DIR, "", b"")),
    "file twice": tar(file("f"), file("f", b"y")),
    "file twice, once with a dot": tar(file("f"), raw(b"./f")),
    "folder twice": tar(("d", DIR, "", b""), ("d/", DIR, "", b"")),
    "file below a file": tar(file("f"), file("f/g")),
    "file named as a folder": tar(raw(b"d/")),
    "unknown kind": tar(raw(b"x", kind=b"Z")),
    "continued volume": tar(raw(b"x", kind=b"M")),
    "global path": tar(pax_global(path=b"a"), raw(b"b")),
    "global size": tar(pax_global(size=b"0"), raw(b"b")),
    "global linkpath": tar(pax_global(linkpath=b"/etc/passwd"), raw(b"b", kind=b"1", link=b"x")),
    "huge size": tar(raw(b"x", 8**11 - 1)),
    "huge pax size": tar(pax(size=b"9" * 20), raw(b"x")),
    "negative size": tar(_negative := raw(b"x", 0)[:124] + b"\xff" * 12 + raw(b"x")[136:]),
    "pax bomb": tar(raw(b"p", 8**11 - 1, b"x")),
    "pax of two MiB": tar(raw(b"p", 2 << 20, b"x"), bytes(2 << 20), raw(b"x")),
    "gnu long name bomb": tar(raw(b"p", 1 << 30, b"L")),
    "pax record without length": tar(raw(b"p", 5, b"x"), b"a=b\n\0".ljust(512, b"\0"), raw(b"x")),
    "pax record with length zero": tar(raw(b"p", 6, b"x"), b"0 a=b\n".ljust(512, b"\0"), raw(b"x")),
    "pax record too long": tar(raw(b"p", 7, b"x"), b"99 a=b\n".ljust(512, b"\0"), raw(b"x")),
    "pax size not a number": tar(pax(size=b"1e3"), raw(b"x")),
    "pax time not a number": tar(pax(mtime=b"nan"), raw(b"x")),
    "pax time of ages": tar(pax(mtime=b"9" * 18), raw(b"x")),
    "extension header at the end": tar(pax(path=b"x")),
    "sparse larger than it may be": tar(sparse_1_0(b"0\n", 512, b"9" * 19)),
    "sparse with a lying table": tar(sparse_1_0(b"1\n0\n9999\n", 512, b"9999")),
    "sparse with overlap": tar(sparse_1_0(b"2\n0\n10\n5\n10\n", 532, b"20"), bytes(512)),
    "sparse past its end": tar(sparse_1_0(b"1\n100\n10\n", 522, b"50"), bytes(512)),
    "sparse with endless table": tar(sparse_1_0(b"9" * 512, 512, b"0")),
    "sparse with many pieces": tar(sparse_1_0(b"99999999\n", 512, b"0")),
    "sparse without table": tar(sparse_1_0(b"", 0, b"0")[:-512]),
    "sparse 0.1 odd map": tar(pax(GNU__sparse__map=b"0,1,2", GNU__sparse__size=b"9"), raw(b"x")),
    "limpet record for one entry": tar(pax(LIMPET__blake3=b"0"), raw(b"x")),
    "limpet record cut in half": tar(raw(b"x"), pax_global(**{"LIMPET.size": b"512"})),
    "limpet version in the middle": tar(raw(b"x"), pax_global(**{"LIMPET.version": b"1"})),
    "limpet of the future": tar(pax_global(**{"LIMPET.version": b"2"}), raw(b"x")),
    "limpet receipt not json": tar(pax_global(**{"LIMPET.receipt": b"{"}), raw(b"x")),
    "limpet receipt nested": tar(pax_global(**{"LIMPET.receipt": b"[" * 100_000}), raw(b"x")),
    "garbage": b"garbage" * 1000,
    "nothing": b"",
    "gzip": b"\x1f\x8b\x08" + bytes(2000),
}  # fmt: skip


@pytest.mark.parametrize("what", sorted(HOSTILE))
@pytest.mark.parametrize("piece", [1 << 20, 100])
def test_a_hostile_tar_is_refused_and_leaves_nothing(what: str, piece: int, tmp_path: Path) -> None:
    inner = tmp_path / "deep" / "inside"
    inner.mkdir(parents=True)
    content = HOSTILE[what]
    chunks = [content[at : at + piece] for at in range(0, len(content), piece)]
    with pytest.raises((TarDamagedError, TarUnsafeError)):
        extract_tar(chunks, inner / "into")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["deep", "inside"]
    assert not Path("/tmp/limpet-escaped").exists()
    verifier = TarVerifier()

    def judge() -> None:
        for chunk in chunks:
            verifier.feed(chunk)
        verifier.finish()

    with pytest.raises((TarDamagedError, TarUnsafeError)):
        judge()


@pytest.mark.parametrize(
    ("limits", "entries"),
    [
        (TarLimits(max_entries=2), [file("a"), file("b"), file("c")]),
        (TarLimits(max_bytes=10), [file("a", b"x" * 6), file("b", b"x" * 6)]),
        (TarLimits(max_depth=3), [file("a/b/c/d/e")]),
        (TarLimits(max_depth=3), [("a/b/c/d", DIR, "", b"")]),
        (TarLimits(max_names_bytes=100), [file("n" * 60), file("m" * 60)]),
        (TarLimits(max_tar_bytes=2000), [file("a")]),
        (TarLimits(max_sparse_bytes=99), [sparse_1_0(b"0\n", 512, b"100")]),
    ],
)
def test_each_limit_holds(limits: TarLimits, entries: list[Entry | bytes], tmp_path: Path) -> None:
    content = tar(*entries)
    extract_tar([content], tmp_path / "fine")
    with pytest.raises(TarUnsafeError):
        extract_tar([content], tmp_path / "into", limits=limits)
    assert os.listdir(tmp_path) == ["fine"]


def test_a_wrong_check_sum_is_told() -> None:
    content = bytearray(tar(file("f")))
    content[0] ^= 1
    with pytest.raises(TarDamagedError):
        TarVerifier().feed(bytes(content))


@pytest.mark.parametrize("target", ["/etc/passwd", "../..", "nowhere", "l"])
def test_a_symlink_may_say_anything_since_nothing_follows_it(target: str, tmp_path: Path) -> None:
    content = tar(("l", SYM, target, b""), file("after"), ("d", DIR, "", b""))
    receipt = extract_tar([content], tmp_path / "into")
    assert str((tmp_path / "into/l").readlink()) == target
    assert receipt.counts == {"symlinks": 1}


def test_a_deep_name_alone_is_bounded() -> None:
    content = tar(pax(path=b"a/" * 100_000 + b"b"), raw(b"x"))
    with pytest.raises(TarUnsafeError):
        TarVerifier().feed(content)


def test_set_uid_in_a_tar_of_others_is_dropped_and_told(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        info = tarfile.TarInfo("su")
        info.mode = 0o6755
        made.addfile(info)
    receipt = extract_tar([out.getvalue()], tmp_path / "into")
    assert (tmp_path / "into/su").stat().st_mode & 0o7777 == 0o755
    assert receipt.dropped == {"setid": 1}
    assert not receipt.complete


@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_every_refusal_says_what_and_has_a_code(what: str) -> None:
    verifier = TarVerifier()
    with pytest.raises(LimpetError) as raised:
        _ = verifier.feed(HOSTILE[what]), verifier.finish()
    assert raised.value.code in {"tar_damaged", "tar_unsafe"}
    assert raised.value.message.endswith(".")
