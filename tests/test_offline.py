"""The guard of ``tests/offline`` refuses the network, here and in processes that tests start."""
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ADDRESS = ('192.0.2.1', 80)  # kept for documents, nobody's
REACH = f'import socket; socket.create_connection({ADDRESS}, timeout=0.1)'


@pytest.fixture(autouse=True)
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The list of refusals, apart from that of the session."""
    monkeypatch.setenv('TESTS_REFUSED', str(tmp_path / 'refused'))
    return tmp_path / 'refused'


@pytest.mark.parametrize('call', [
    lambda s: s.connect(ADDRESS), lambda s: s.connect_ex(ADDRESS), lambda s: s.sendto(b'x', ADDRESS),
    lambda s: s.sendmsg([b'x'], [], 0, ADDRESS), lambda s: socket.getaddrinfo('example.org', 80),
    lambda s: socket.gethostbyname('example.org')])
@pytest.mark.parametrize('kind', [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_refused_here(call, kind, refused: Path) -> None:
    with socket.socket(socket.AF_INET, kind) as sock, pytest.raises(RuntimeError, match='beyond this machine'):
        call(sock)
    assert refused.read_text().count('socket.') == 1


def test_refused_in_other_processes(refused: Path) -> None:
    done = subprocess.run([sys.executable, '-c', REACH], capture_output=True, text=True)
    assert done.returncode == 1 and 'beyond this machine' in done.stderr
    assert ADDRESS[0] in refused.read_text()


def test_tools_as_users_start_them_are_guarded(refused: Path) -> None:
    from tool_runs import run
    code, _, err = run('-c', REACH)
    assert code == 1 and 'beyond this machine' in err and ADDRESS[0] in refused.read_text()


def test_local_sockets_work(refused: Path) -> None:
    with socket.create_server(('127.0.0.1', 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.sendall(b'x')
        assert server.accept()[0].recv(1) == b'x'
    assert not refused.exists()
