"""What a link is found by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.links.terms import TERMS_MAX, WORDS_MAX, terms_of, words_of


def terms(**fields: str) -> set[str]:
    return set(terms_of(**{"slug": "s", "title": "", "target": "https://x.example/"} | fields))


@pytest.mark.parametrize(
    "search",
    [
        "spring-sale",
        "SPRING",
        "sale",
        "docs.Example.com",
        "www.docs.example.com",
        "example.com",
        "docs",
        "straße",
        "STRASSE",
        "https://docs.example.com/",
        '"Grüne" straße!',
        "v1.2",
    ],
)
def test_a_link_is_found_by_its_slug_host_and_title(search: str) -> None:
    found = terms(slug="Spring-Sale", target="https://www.docs.example.com/a?b", title="Grüne Straße, v1.2")
    assert found.issuperset(set(words_of(search)) - {"https"})
    assert words_of(search)


def test_a_link_is_found_by_its_target_path_and_notes_after_all_else() -> None:
    found = terms(target="https://x.example/Rate-Card/%C3%9Cber", notes="for Ann")
    assert found >= {"rate-card", "card", "über", "ann"}
    many = " ".join(f"w{n}" for n in range(TERMS_MAX))
    assert "ann" not in terms(title=many, notes="Ann")


@given(st.text(max_size=600), st.text(max_size=600))
def test_terms_and_words_are_few_and_short(title: str, search: str) -> None:
    found = terms_of(slug="s", title=title, target="https://a.b.c.d.e.f.g.h.example/")
    assert len(found) <= TERMS_MAX
    assert "s" in found
    assert all(0 < len(term) <= 64 for term in found)
    assert len(words_of(search)) <= WORDS_MAX


@given(st.lists(st.text(alphabet="abcäßéΩ12-.", min_size=1, max_size=9), max_size=5))
def test_a_title_is_found_by_each_of_its_words(words: list[str]) -> None:
    assert terms(title=" ".join(words)).issuperset(words_of(" ".join(words)))


@given(st.text(alphabet="abcXYZ019 /", max_size=70))
def test_plain_texts_have_the_terms_that_others_have(title: str) -> None:
    assert terms_of(slug="", title=title, target="https://a.b") == terms_of(
        slug="", title=title + " ,", target="https://a.b"
    )
