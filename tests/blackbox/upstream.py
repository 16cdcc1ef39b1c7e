"""Starts the chaos upstream beside the tests, with the certificates that F05 wants."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from truth import Truth

HERE = Path(__file__).parent
SUBJECT = "/CN=chaos"


class Upstream:
    """The chaos upstream as a process of its own."""

    def __init__(self, directory: Path) -> None:
        certificates(directory / "certs")
        command = [sys.executable, str(HERE / "chaos.py"), "--dir", str(directory)]
        self.process = subprocess.Popen(
            [*command, "--certs", str(directory / "certs")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        self.ports: dict[str, int] = json.loads(self.process.stdout.readline())
        self.port = self.ports["plain"]
        self.ca = directory / "certs" / "ca.pem"
        self.truth = Truth(directory / "truth.jsonl")

    def stop(self) -> None:
        """Ends it and fails when it met a bug of its own."""
        self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        broken = self.truth.lines("harness_error")
        assert not broken, broken


def _openssl(*args: str, cwd: Path) -> None:
    done = subprocess.run(["openssl", *args], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def certificates(directory: Path) -> None:
    """`ca.pem`, and a leaf for each way a certificate can be wrong (F05)."""
    directory.mkdir(parents=True, exist_ok=True)
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for name in ("ca", "stranger"):
        _openssl(*new, "-keyout", f"{name}.secret", "-out", f"{name}.pem", "-days", "30",
                 "-subj", f"/CN={name}", cwd=directory)
    leaves = {
        "good": ("ca", "localhost", "20990101000000Z"),
        "expired": ("ca", "localhost", "20200201000000Z"),
        "wronghost": ("ca", "elsewhere.test", "20990101000000Z"),
        "unknown": ("stranger", "localhost", "20990101000000Z"),
    }
    for name, (issuer, host, end) in leaves.items():
        leaf(directory, name, issuer, host, end)


def leaf(directory: Path, name: str, issuer: str, host: str, end: str) -> None:
    conf = directory / f"{name}.conf"
    conf.write_text(
        "[ca]\ndefault_ca=me\n[me]\ndatabase=index.txt\nnew_certs_dir=.\nserial=serial\n"
        "default_md=sha256\npolicy=any\nunique_subject=no\nx509_extensions=leaf\n"
        f"[any]\ncommonName=supplied\n[leaf]\nsubjectAltName=DNS:{host}\n"
        "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n"
    )
    (directory / "index.txt").touch()
    if not (directory / "serial").exists():
        (directory / "serial").write_text("01\n")
    _openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={host}", cwd=directory)
    _openssl("ca", "-batch", "-config", conf.name, "-cert", f"{issuer}.pem", "-keyfile", f"{issuer}.secret",
             "-in", f"{name}.csr", "-out", f"{name}.pem", "-notext",
             "-startdate", "20200101000000Z", "-enddate", end, cwd=directory)
