"""The link itself: a test that measures by it must be able to trust it."""
import socket
import threading
import time

from lib.link import FAR, Link


def _round_trips(link, count):
    """Milliseconds that packets take to the far side's kernel and back: refused connections."""
    times = []
    for _ in range(count):
        begin = time.monotonic()
        try:
            socket.create_connection((FAR, 9), 5)
        except ConnectionRefusedError:
            times.append((time.monotonic() - begin) * 1000)
    return times


def test_round_trip_is_the_delay_asked_for():
    link = Link(rtt=40)
    times = sorted(_round_trips(link, 30))
    link.stop()
    assert 40 <= times[0] and times[len(times) // 2] < 41, times


def test_cut_line_passes_nothing_and_mends():
    link = Link(rtt=10)
    link.cut()
    threading.Timer(1, link.mend).start()
    begin = time.monotonic()
    _round_trips(link, 1)
    assert time.monotonic() - begin >= 1


def test_lost_packets_are_counted():
    link = Link(rtt=2, loss=30)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(300):
            sender.sendto(b"x", (FAR, 9))
    time.sleep(0.1)
    link.stop()
    lost = int(link.report.split("lost=")[1].split(",")[0])
    assert 60 <= lost <= 240, link.report
