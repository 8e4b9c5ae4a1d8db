"""A relay that does next to nothing: smtp-sink, which reads a message and throws it away. PIPELINING, no CHUNKING."""
import subprocess

from .postfix import wait_for_port


class Sink:
    """Listens at `address` from its creation on; the same use as lib.relay, without TLS and AUTH."""

    def __init__(self, address="127.0.0.3", host="second.test", port=25):
        self.address, self.host, self.port, self.secure = address, host, port, False
        self.process = subprocess.Popen(["smtp-sink", "-u", "nobody", f"{address}:{port}", "1000"])
        wait_for_port(address, port)

    def stop(self):
        self.process.terminate()
        self.process.wait()
