"""The image builder's pure parts."""

import sys
from pathlib import Path

import pytest

ISO_BUILDER = Path(__file__).resolve().parents[3] / "iso-builder"
sys.path.insert(0, str(ISO_BUILDER))

from pvc_image import cache, deb, guest, manifest, mirror  # noqa: E402  the path above comes first
from pvc_image.errors import ImageError  # noqa: E402

MANIFEST = ISO_BUILDER / "manifest.toml"


def test_the_manifest_is_whole_and_its_digest_stable() -> None:
    found = manifest.load(MANIFEST)
    assert "systemd-container" in found.packages
    assert set(found.product_packages) < set(found.packages)
    assert found.base_digest() == manifest.load(MANIFEST).base_digest()


def test_a_reason_does_not_change_the_digest_but_a_package_does() -> None:
    text = MANIFEST.read_text()
    same = manifest.parse(text.replace('why = "as for ceph-mon"', 'why = "other words"'))
    other = manifest.parse(text.replace('"ethtool"', '"ethtool", "mtr-tiny"'))
    assert same.base_digest() == manifest.load(MANIFEST).base_digest() != other.base_digest()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("suite =", "siute =", "unknown key in manifest: siute"),
        ('"ethtool"', '"ethtool", "git"', "listed twice: git"),
        ("suite = ", "suite == ", "Invalid value|manifest.toml"),
    ],
)
def test_a_wrong_manifest_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        manifest.parse(MANIFEST.read_text().replace(old, new, 1))


def test_the_mirror_is_the_first_debian_archive_of_apt() -> None:
    sites = ("https://packages.example.com/apt", "http://m/debian-security", "http://m/debian")
    text = "".join(f"{site} Packages\n" for site in sites)
    assert mirror.parse_index_targets(text) == "http://m/debian"
    assert mirror.parse_index_targets("http://m/debian Sources\n") is None


def test_only_what_reaches_the_mirror_is_passed_on() -> None:
    text = (
        'Acquire::http::Proxy "http://p:1";\nAcquire::Check-Date "false";\n'
        'Acquire::cdrom "";\nAPT::X "1";\n'
    )
    assert mirror.parse_apt_config(text) == (
        'Acquire::http::Proxy "http://p:1";',
        'Acquire::Check-Date "false";',
    )


def test_an_interrupted_layer_is_built_again(tmp_path: Path) -> None:
    target = tmp_path / "layer-1"
    (tmp_path / "layer-1.new").mkdir()
    (tmp_path / "layer-1.new" / "half").write_text("")

    def build(new: Path) -> None:
        assert list(new.iterdir()) == []
        (new / "whole").write_text("")

    assert cache.ensure(target, build, "layer", cache.Progress()) == target
    assert [path.name for path in target.iterdir()] == ["whole"]
    assert not (tmp_path / "layer-1.new").exists()


def test_a_failed_layer_is_not_there(tmp_path: Path) -> None:
    def build(new: Path) -> None:
        (new / "half").write_text("")
        raise ImageError("no network", "try again")

    with pytest.raises(ImageError, match="no network"):
        cache.ensure(tmp_path / "layer", build, "layer", cache.Progress())
    assert not (tmp_path / "layer").exists()
    assert not (tmp_path / "layer.new").exists()


def test_launchers_come_from_the_wheels_entry_points() -> None:
    text = "[console_scripts]\npvc = pvc_gitops.cli.main:main\npvc-guard = pvc_guard.main:main\n"
    guard = deb.parse_entry_points(text)[1]
    assert guard == deb.EntryPoint(name="pvc-guard", module="pvc_guard.main", function="main")
    assert deb.launcher(guard) == (
        "#!/usr/bin/python3\nimport sys\nfrom pvc_guard.main import main\nsys.exit(main())\n"
    )


def test_only_units_that_say_so_are_enabled() -> None:
    assert deb.has_install_section("[Unit]\n[Install]\nWantedBy=pvc.target\n")
    assert not deb.has_install_section("[Unit]\nDescription=no [Install] here\n")


def test_an_initramfs_entry_is_a_newc_header_name_and_content_padded_to_four() -> None:
    entry = guest.cpio_entry(2, "etc/x", 0o100644, b"hello")
    assert entry.startswith(b"070701" + b"00000002" + b"000081a4")
    assert entry[54:62] == b"00000005"  # the content's length
    assert entry[94:102] == b"00000006"  # the name's, with its zero
    assert entry[110:116] == b"etc/x\0"
    assert entry[116:] == b"hello\0\0\0"
    assert len(entry) % 4 == 0


def test_the_partition_table_has_one_active_partition_and_the_mark() -> None:
    table = guest.partition_table(2048, 47104)
    assert len(table) == 72
    assert table[6] == 0x80
    assert table[-2:] == b"\x55\xaa"


def test_module_dependencies_are_read_from_the_module() -> None:
    assert guest.dependencies(b"x\0depends=failover,net-failover\0y") == [
        "failover",
        "net_failover",
    ]
    assert guest.dependencies(b"x\0depends=\0y") == []
