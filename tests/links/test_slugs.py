"""How slugs are made and which are accepted."""

from __future__ import annotations

import secrets
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.links import SLUG_BITS_MIN, slug_length_min
from app.links.slugs import (
    ALPHABET,
    CHANCE_BYTES,
    SLUG_CHARACTERS_MAX,
    SLUG_LENGTH,
    Chance,
    SlugError,
    check_slug,
    make_slug,
    seeded,
)
from app.settings import RESERVED_SEGMENTS
from tests.links.spelling import number_of_slug


def test_made_slug_has_its_length_and_no_look_alikes() -> None:
    made = {make_slug(secrets.randbelow) for _ in range(500)}
    assert len(made) == 500
    assert all(len(slug) == SLUG_LENGTH and set(slug) <= set(ALPHABET) for slug in made)
    assert not set(ALPHABET) & set("0O1lI")


def test_made_slug_is_never_a_reserved_word() -> None:
    spelled = iter([number_of_slug("metrics"), number_of_slug("abcdefg")])
    assert make_slug(lambda _: next(spelled)) == "abcdefg"


def test_a_slug_is_made_of_other_characters_and_so_long_as_it_is_told() -> None:
    made = {make_slug(secrets.randbelow, 30, "ab") for _ in range(50)}
    assert len(made) == 50
    assert all(len(slug) == 30 and set(slug) == {"a", "b"} for slug in made)


def test_the_shortest_slug_has_the_bits_and_one_that_is_shorter_has_not() -> None:
    for alphabet in ("ab", "0123456789", ALPHABET, ALPHABET + "01lIO_-"):
        least = slug_length_min(alphabet)
        assert len(alphabet) ** least >= 2**SLUG_BITS_MIN > len(alphabet) ** (least - 1)


def test_each_number_below_the_limit_is_a_slug_of_its_own() -> None:
    limits: list[int] = []

    def last(most: int) -> int:
        limits.append(most)
        return most - 1

    assert make_slug(last, 2) == ALPHABET[-1] * 2
    assert limits == [len(ALPHABET) ** 2]
    numbers = iter(range(limits[0]))
    assert len({make_slug(lambda _: next(numbers), 2) for _ in range(limits[0])}) == limits[0]


def test_numbers_are_made_of_bytes_that_are_used_once() -> None:
    read: list[int] = []

    def token_bytes(size: int) -> bytes:
        read.append(size)
        return bytes(number % 256 for number in range(size))

    chance = Chance(token_bytes)
    assert [chance.bits(8) for _ in range(3)] == [0, 1, 2]
    assert [chance.bits(12), chance.bits(63)] == [0x030, 0x05060708090A0B0C >> 1]
    assert [chance.bits(8) for _ in range(CHANCE_BYTES - 13)][-1] == 0xFF
    assert read == [CHANCE_BYTES]
    assert chance.bits(8 * CHANCE_BYTES) == int.from_bytes(token_bytes(CHANCE_BYTES), "big")
    assert read == [CHANCE_BYTES] * 3


@given(st.integers(1, 2**70), st.randoms(use_true_random=False))
def test_a_number_below_a_limit_is_below_it(most: int, random: Random) -> None:
    assert 0 <= Chance(random.randbytes).below(most) < most


def test_every_number_below_a_limit_comes() -> None:
    chance = Chance(secrets.token_bytes)
    assert {chance.below(5) for _ in range(500)} == set(range(5))


@pytest.mark.parametrize("slug", ["a", "Z", "0", "-", "a-b_c", "x" * 64, "API2"])
def test_chosen_slug_is_kept_as_it_is(slug: str) -> None:
    assert check_slug(slug) == slug


@pytest.mark.parametrize("slug", ["", "x" * 65, "a b", "a/b", "é", "a.b", "a%20", "a\n", "a\x00", "\u0661"])
def test_chosen_slug_of_other_characters_or_length_is_refused(slug: str) -> None:
    with pytest.raises(SlugError, match="1 to 64"):
        check_slug(slug)


@pytest.mark.parametrize("slug", ["api", "API", "Health", "ready", "docs", "static", "dashboard", "_"])
def test_reserved_word_is_refused_in_any_case(slug: str) -> None:
    with pytest.raises(SlugError, match="reserved"):
        check_slug(slug)


@given(st.text(max_size=70))
def test_whatever_is_accepted_is_plain_ascii_and_not_reserved(text: str) -> None:
    try:
        slug = check_slug(text)
    except SlugError:
        return
    assert slug == text
    assert slug.isascii()
    assert 1 <= len(slug) <= 64
    assert slug.lower() not in RESERVED_SEGMENTS


def test_of_a_seed_slugs_are_as_many_as_of_any_source() -> None:
    made = {make_slug(seeded(number.to_bytes(4, "big")), SLUG_CHARACTERS_MAX) for number in range(200)}
    assert len({slug[-1] for slug in made}) > 30  # what is drawn last is as much by chance as what is first
    assert make_slug(seeded(b"a")) == make_slug(seeded(b"a")) != make_slug(seeded(b"b"))
