"""The guard of ``tests/offline`` refuses the network, here and in processes that tests start."""
import socket
import subprocess
import sys

import pytest

REACH = 'import socket; socket.create_connection(("192.0.2.1", 80), timeout=0.1)'  # an address kept for documents


@pytest.mark.parametrize('call', [
    lambda s: s.connect(('192.0.2.1', 80)), lambda s: s.connect_ex(('192.0.2.1', 80)),
    lambda s: s.sendto(b'x', ('192.0.2.1', 53)), lambda s: socket.getaddrinfo('example.org', 80)])
@pytest.mark.parametrize('kind', [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_refused_here(call, kind) -> None:
    with socket.socket(socket.AF_INET, kind) as sock, pytest.raises(RuntimeError, match='tests run offline'):
        call(sock)


def test_refused_in_other_processes() -> None:
    done = subprocess.run([sys.executable, '-c', REACH], capture_output=True, text=True)
    assert done.returncode == 1 and 'tests run offline' in done.stderr


def test_tools_as_users_start_them_are_guarded() -> None:
    from tool_runs import run
    code, _, err = run('-c', REACH)
    assert code == 1 and 'tests run offline' in err


def test_local_sockets_work() -> None:
    with socket.create_server(('127.0.0.1', 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.sendall(b'x')
        assert server.accept()[0].recv(1) == b'x'
