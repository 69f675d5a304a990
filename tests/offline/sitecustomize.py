"""Python imports this at its start where the folder is on PYTHONPATH: other sockets than local ones are refused.

So no process of the tests reaches beyond this machine.
"""
import os
import socket

LOCAL = ('localhost', 'localhost.localdomain', '::1', '0.0.0.0', '', None, socket.gethostname())


def _is_local(address: object) -> bool:
    host = address[0] if isinstance(address, tuple) else address
    host = host.decode() if isinstance(host, bytes) else host
    return host in LOCAL or str(host).startswith('127.')


def _refuse(name: str) -> None:
    original = getattr(socket.socket, name)

    def guarded(self: socket.socket, *args: object) -> object:
        # The address is the first argument of connect(), the last one of sendto().
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(args[-1]):
            raise RuntimeError(f'a test tried to reach {args[-1]}; tests run offline')
        return original(self, *args)

    setattr(socket.socket, name, guarded)


def _refuse_names() -> None:
    original = socket.getaddrinfo

    def guarded(host: object, *args: object, **options: object) -> object:
        if not _is_local(host):
            raise RuntimeError(f'a test tried to look up {host}; tests run offline')
        return original(host, *args, **options)

    socket.getaddrinfo = guarded


for _name in ('connect', 'connect_ex', 'sendto'):
    _refuse(_name)
_refuse_names()
os.environ.update(HF_HUB_OFFLINE='1', TRANSFORMERS_OFFLINE='1')
