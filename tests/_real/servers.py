"""PostgreSQL, Redis and nginx, each started for a session and ended with it.

Nothing here is pytest's, for the benchmarks start them too.
"""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .child import LIMIT_S, Child, free_port, started


@dataclass(frozen=True)
class Address:
    """Where a server listens, in which folder it keeps its things, and its process."""

    port: int
    folder: Path
    pid: int
    tls_port: int | None = None


class CannotStart(Exception):
    """There is no such server on this machine; the words say why."""


def find_program(name):
    """Return a server's path.

    Raises:
      CannotStart: there is none.
    """
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *folders])
    found = shutil.which(name, path=path)
    if found is None:
        raise CannotStart(f"there is no {name} here: tools/servers.sh installs it")
    return found


def _plain_environment():
    """Return environment variables without what is meant for our own programs, such as
    a sanitizer to load first."""
    return {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}


def _unprivileged():
    """Return the name of a user that is not root, where we are root, and its numbers."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise CannotStart("PostgreSQL does not run as root, and there is no user nobody")


@contextmanager
def _folder(owner):
    """Give a folder with a short path, as Unix sockets need, of that owner."""
    with tempfile.TemporaryDirectory(prefix="real-") as name:
        if owner:
            os.chown(name, owner["user"], owner["group"])
        yield Path(name)


def _give_away(path, data, owner):
    """Write a file that only its owner can read."""
    path.write_bytes(data)
    path.chmod(0o600)
    if owner:
        os.chown(path, owner["user"], owner["group"])


def _postgres_tls(certificate, data, owner):
    """Write the certificate into the folder `data`; return the settings."""
    key = certificate.private_key_pem.bytes()
    chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
    _give_away(data / "server.key", key, owner)
    _give_away(data / "server.crt", chain, owner)
    return ["-c", "ssl=on"]


@contextmanager
def postgres(certificate=None):
    """Give the `Address` of a PostgreSQL of our own, on TCP, a Unix socket, and TLS if
    there is a certificate."""
    initdb, program = find_program("initdb"), find_program("postgres")
    owner = _unprivileged()

    with _folder(owner) as folder:
        data = folder / "data"
        subprocess.run(
            f"{initdb} -D {data} -U tester -A trust -E UTF8 --locale=C -N".split(),
            check=True,
            capture_output=True,
            cwd=folder,
            timeout=LIMIT_S,
            env=_plain_environment(),
            **owner,
        )
        settings = "-c fsync=off -c max_connections=60".split()
        if certificate is not None:
            settings += _postgres_tls(certificate, data, owner)

        def make(port):
            command = [program, "-D", data, "-h", "127.0.0.1", "-p", port, "-k", folder]
            return Child(
                # A fast shutdown: sessions that are still there are ended.
                [*command, *settings],
                end_signal=signal.SIGINT,
                cwd=folder,
                env=_plain_environment(),
                **owner,
            )

        child, port = started(make, "ready to accept connections")
        with child:
            yield Address(port, folder, child.process.pid)


def _redis_tls(certificate, folder):
    """Write the certificate into the folder; return the options, with a port."""
    path = folder / "server.pem"
    _give_away(path, certificate.private_key_and_cert_chain_pem.bytes(), {})
    return {
        "tls-port": free_port(),
        "tls-cert-file": path,
        "tls-key-file": path,
        "tls-auth-clients": "no",
    }


@contextmanager
def redis(certificate=None):
    """Give the `Address` of a Redis of our own, on TCP and a Unix socket; with a
    certificate `tls_port` has TLS."""

    program = find_program("redis-server")
    with _folder({}) as folder:
        tls = {}

        def make(port):
            options = {
                "port": port,
                "bind": "127.0.0.1",
                "unixsocket": folder / "redis.sock",
                "dir": folder,
                "save": "",
                "appendonly": "no",
            }
            if certificate is not None:
                tls.update(_redis_tls(certificate, folder))
            command = [program]
            for name, value in (options | tls).items():
                command += [f"--{name}", value]
            return Child(command, env=_plain_environment())

        child, port = started(make, "Ready to accept connections")
        with child:
            yield Address(port, folder, child.process.pid, tls.get("tls-port"))


NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 1000; }}
http {{
    access_log off;
    client_max_body_size 20m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream app {{ server unix:{upstream}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        location / {{ proxy_pass http://app; }}
        location /unbuffered/ {{
            proxy_pass http://app/;
            proxy_buffering off;
            proxy_request_buffering off;
        }}
    }}
}}
"""


@contextmanager
def nginx(upstream):
    """Give the `Address` of an nginx of our own, before what listens at the Unix socket
    `upstream`."""

    program = find_program("nginx")
    with _folder({}) as folder:

        def make(port):
            text = NGINX.format(folder=folder, upstream=upstream, port=port)
            (folder / "nginx.conf").write_text(text)
            command = [program, "-e", "stderr", "-c", folder / "nginx.conf"]
            return Child(command, env=_plain_environment())

        child, port = started(make, "using the .* event method")
        with child:
            yield Address(port, folder, child.process.pid)
