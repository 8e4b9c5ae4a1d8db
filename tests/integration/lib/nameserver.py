"""A name server that knows no name: a mail server hears so at once of far domains where there is no network."""
import socket
import threading

HEADER = 12  # octets
NO_SUCH_NAME = b"\x81\x83"


def _answer(query):
    """The question again, and that there is no such name."""
    end = query.index(b"\0", HEADER) + 5  # the name ends in an empty label; type and class follow
    return query[:2] + NO_SUCH_NAME + b"\0\1" + bytes(6) + query[HEADER:end]


def serve(address="127.0.0.1"):
    """At port 53 there, as long as this process lives."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 53))

    def work():
        while True:
            query, client = server.recvfrom(4096)
            server.sendto(_answer(query), client)
    threading.Thread(target=work, daemon=True).start()
