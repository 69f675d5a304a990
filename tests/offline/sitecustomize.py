"""Python imports this at its start where the folder is on PYTHONPATH: other addresses than local ones are refused.

So no process of the tests reaches beyond this machine. Each refusal is also written down in the file that
TESTS_REFUSED names, because a library may swallow the error.
"""
import os
import socket
import sys

_LOCAL = ('localhost', 'localhost.localdomain', '::1', '0.0.0.0', '::', '', None, socket.gethostname())
# Event -> which of its arguments is the address, or the host.
_EVENTS = {'socket.connect': 1, 'socket.sendto': 1, 'socket.sendmsg': 1, 'socket.getaddrinfo': 0,
           'socket.gethostbyname': 0, 'socket.gethostbyaddr': 0}


def _is_local(address: object) -> bool:
    host = address[0] if isinstance(address, tuple) else address
    host = host.decode() if isinstance(host, bytes) else host
    return host in _LOCAL or str(host).startswith(('127.', '/'))  # a path is a socket of this machine


def _guard(event: str, args: tuple) -> None:
    if event in _EVENTS and not _is_local(args[_EVENTS[event]]):
        line = f'{event} {args[_EVENTS[event]]} by {" ".join(sys.argv[:2])}'
        if os.environ.get('TESTS_REFUSED'):
            with open(os.environ['TESTS_REFUSED'], 'a') as file:
                file.write(f'{line}\n')
        raise RuntimeError(f'a test tried to reach beyond this machine: {line}')


sys.addaudithook(_guard)
