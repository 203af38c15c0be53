"""Unknown slugs are limited by network, in bounded memory, and this machine is not."""

from __future__ import annotations

from app.limits.scans import BURST_S, Scans

RATE = 20
BURST = BURST_S * RATE


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def scan(scans: Scans, address: str, most: int = 10 * BURST) -> int:
    """How many unknown slugs an address may ask for at once."""
    for count in range(most):
        if scans.is_over(address):
            return count
        scans.on_unknown(address)
    return most


def test_burst_is_had_at_once_and_then_one_token_comes_back_after_another() -> None:
    clock = Clock()
    scans = Scans(RATE, clock)
    assert abs(scan(scans, "192.0.2.1") - BURST) <= 1
    assert scans.is_over("192.0.2.1")
    assert not scans.is_over("192.0.2.2")
    clock.now_s += 1.0
    assert abs(scan(scans, "192.0.2.1") - RATE) <= 1
    clock.now_s += BURST_S
    assert abs(scan(scans, "192.0.2.1") - BURST) <= 1


def test_refused_questions_do_not_lengthen_the_wait() -> None:
    clock = Clock()
    scans = Scans(RATE, clock)
    scan(scans, "192.0.2.1")
    for _ in range(1_000):
        scans.on_unknown("192.0.2.1")  # that were under way
    clock.now_s += 0.5
    assert not scans.is_over("192.0.2.1")


def test_ipv6_is_limited_by_its_64() -> None:
    scans = Scans(RATE, Clock())
    scan(scans, "2001:db8:0:1::1")
    assert scans.is_over("2001:db8:0:1:ffff::9")
    assert not scans.is_over("2001:db8:0:2::1")


def test_this_machine_and_rate_off_are_not_limited() -> None:
    scans = Scans(RATE, Clock())
    assert [scan(scans, address) for address in ("127.0.0.1", "::1", "")] == [10 * BURST] * 3
    assert scan(Scans(None, Clock()), "192.0.2.1") == 10 * BURST


def test_memory_is_bounded() -> None:
    scans = Scans(RATE, Clock(), limit=100)
    for number in range(1_000):
        scans.on_unknown(f"198.51.{number >> 8}.{number & 255}")
    assert len(scans) == 100
