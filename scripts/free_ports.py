"""Prints N free ports of 127.0.0.1, each below 55000 and with port + 10000 free too (SeaweedFS takes both)."""

import random
import socket
import sys


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def main(count: int) -> None:
    found: list[int] = []
    candidates = random.sample(range(20000, 30000), 2000)
    for port in candidates:
        if is_free(port) and is_free(port + 10000):
            found.append(port)
        if len(found) == count:
            print(*found)
            return
    sys.exit("no free ports on 127.0.0.1")


if __name__ == "__main__":
    main(int(sys.argv[1]))
