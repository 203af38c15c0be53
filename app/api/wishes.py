"""What a body wishes of a link: one table of fields for making, making many, and changing.

In: a decoded JSON object. Out: fields as `app.links.Link` has them, and every field that cannot be used, not only the
first. A field that was left out is UNSET; null takes away what a link need not have. Pure, but for the hash of a
password, which is the caller's business. May import: links.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from app.api import fields
from app.api.branches import Rules, Variants, branch_faults, read_rule, read_target
from app.api.problems import FieldError, field_errors, fields_of
from app.links import (
    PLAIN_CODE,
    DomainError,
    Link,
    LinkState,
    PasswordError,
    Rule,
    SlugError,
    TargetError,
    Variant,
    check_password,
    check_slug,
    normalise_domain,
)
from app.redirect import REDIRECT_CODES

__all__ = ["LinkChange", "LinkWish", "NewLink", "Reading", "read_change", "read_link"]

_NAMES = ("title", "notes", "forward_query", "forward_path", "max_visits", "code")
#: What is read of most bodies; the others are looked for only where something else was given.
_PLAIN = frozenset({"target", "slug", "domain", "title", "notes"})


class LinkChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What shall change of a link; null takes away what a link need not have."""

    target: fields.TargetField | UnsetType = UNSET
    state: fields.StateField | UnsetType = UNSET
    code: fields.CodeField | UnsetType = UNSET
    starts_at: fields.StartField | UnsetType | None = UNSET
    expires_at: fields.EndField | UnsetType | None = UNSET
    max_visits: fields.VisitsField | UnsetType | None = UNSET
    password: fields.PasswordField | UnsetType | None = UNSET
    tags: fields.TagsField | UnsetType = UNSET
    title: fields.TitleField | UnsetType = UNSET
    notes: fields.NotesField | UnsetType = UNSET
    forward_query: fields.ForwardQueryField | UnsetType = UNSET
    forward_path: fields.ForwardPathField | UnsetType = UNSET
    rules: Rules | UnsetType = UNSET
    variants: Variants | UnsetType = UNSET


class LinkWish(LinkChange, kw_only=True):
    """Every field that a body may hold."""

    slug: fields.SlugField | UnsetType | None = UNSET
    domain: fields.DomainField | UnsetType = UNSET
    find_existing: fields.FindExistingField | UnsetType = UNSET


class NewLink(LinkWish, kw_only=True):
    """What a new link shall be; all but the target may be left out."""

    target: fields.TargetField


@dataclass(slots=True)
class Reading:
    """What was read of one body.

    Attributes:
        target, slug, domain: checked; None and "" where they were left out.
        password: as typed, to be hashed; None takes a password away, UNSET leaves it.
        fields: all others that were given, as `Link` has them.
        errors: every wrong field; nothing else may be used when there is one.
    """

    target: str | None = None
    slug: str | None = None
    domain: str = ""
    password: str | UnsetType | None = UNSET
    fields: dict[str, Any] = field(default_factory=dict)
    errors: list[FieldError] = field(default_factory=list)


def read_link(data: Any, check_target: Callable[[str], str]) -> Reading:
    """A wish for a new link."""
    wish, errors = _convert(data)
    reading = _read(wish, data, check_target, errors)
    if wish.target is UNSET and not any(error.field in ("target", "") for error in errors):
        errors.append(FieldError("target", "is required"))
    if wish.domain is not UNSET and wish.domain:
        try:
            reading.domain = normalise_domain(wish.domain)
        except DomainError as error:
            errors.append(FieldError("domain", str(error)))
    if wish.slug is not UNSET and wish.slug is not None:
        try:
            reading.slug = check_slug(wish.slug)
        except SlugError as error:
            errors.append(FieldError("slug", str(error)))
    if wish.find_existing is True:
        reading.fields["is_only"] = True
        errors += _faults_of_finding(wish)
    if not _PLAIN.issuperset(reading.fields):
        errors += _faults_together(reading.fields)
    return reading


def read_change(data: Any, link: Link, check_target: Callable[[str], str]) -> Reading:
    """A wish to change `link`; what is judged together is judged with what stays."""
    wish, errors = _convert(data)
    reading = _read(wish, data, check_target, errors)
    for name in ("slug", "domain", "find_existing"):
        if getattr(wish, name) is not UNSET:
            errors.append(FieldError(name, "cannot be changed: make another link"))
    if reading.target is not None:
        reading.fields["target"] = reading.target
    stays = {name: getattr(link, name) for name in ("starts", "expires", "rules", "variants")}
    errors += _faults_together(stays | reading.fields)
    return reading


def _convert(data: Any) -> tuple[LinkWish, list[FieldError]]:
    """The wish, without the fields whose type is wrong, and what is wrong with those."""
    if not isinstance(data, dict):
        return LinkWish(), [FieldError("", "must be a JSON object")]
    try:
        return msgspec.convert(data, LinkWish), []
    except msgspec.ValidationError:
        known = {name: data[name] for name in fields_of(LinkWish) if name in data}
        right = {name: value for name, value in known.items() if not field_errors({name: value}, LinkWish)}
        return msgspec.convert(right, LinkWish), field_errors(data, LinkWish)


def _read(wish: LinkWish, data: Any, check_target: Callable[[str], str], errors: list[FieldError]) -> Reading:
    reading = Reading(errors=errors)
    fields = reading.fields
    if wish.target is not UNSET:
        try:
            reading.target = check_target(wish.target)
        except TargetError as error:
            errors.append(FieldError("target", str(error)))
    for name in _NAMES:
        if (value := getattr(wish, name)) is not UNSET:
            fields[name] = value
    if not isinstance(data, dict) or not _PLAIN.issuperset(data):
        _read_more(wish, check_target, reading)
    return reading


def _read_more(wish: LinkWish, check_target: Callable[[str], str], reading: Reading) -> None:
    fields, errors = reading.fields, reading.errors
    if wish.code is not UNSET and wish.code not in REDIRECT_CODES:
        errors.append(FieldError("code", "must be 301, 302, 307 or 308"))
    if wish.state is not UNSET:
        fields["state"] = LinkState(wish.state)
    if wish.tags is not UNSET:
        fields["tags"] = sorted(set(wish.tags))
    for name, stored in (("starts_at", "starts"), ("expires_at", "expires")):
        if (at := getattr(wish, name)) is not UNSET:
            fields[stored] = _seconds(name, at, errors)
    if wish.password is not UNSET:
        reading.password = wish.password
        errors += _password_faults(wish.password)
    fields |= _read_branches(wish, check_target, errors)


def _read_branches(wish: LinkWish, check_target: Callable[[str], str], errors: list[FieldError]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if wish.rules is not UNSET:
        fields["rules"] = tuple(
            read_rule(rule, f"rules[{place}]", check_target, errors) for place, rule in enumerate(wish.rules)
        )
    if wish.variants is not UNSET:
        fields["variants"] = tuple(
            Variant(read_target(variant.target, f"variants[{place}]", check_target, errors), variant.weight)
            for place, variant in enumerate(wish.variants)
        )
    return fields


def _seconds(name: str, at: datetime | None, errors: list[FieldError]) -> int | None:
    if at is None:
        return None
    if (fault := fields.moment_fault(at)) is not None:
        errors.append(FieldError(name, fault))
        return None
    return int(at.timestamp())


def _password_faults(password: str | None) -> Iterator[FieldError]:
    try:
        if password is not None:
            check_password(password)
    except PasswordError as error:
        yield FieldError("password", str(error))


def _faults_of_finding(wish: LinkWish) -> Iterator[FieldError]:
    """A link that does more than lead to its target is never the same as another."""
    plain: dict[str, Any] = {"code": PLAIN_CODE, "state": "active", "forward_query": False, "forward_path": False}
    names = ("slug", "starts_at", "expires_at", "max_visits", "password", "rules", "variants")
    for name in (*names, *plain):
        value = getattr(wish, name)
        if value is not UNSET and value not in (None, [], plain.get(name)):
            yield FieldError(name, "cannot be combined with find_existing")


def _faults_together(fields: dict[str, Any]) -> Iterator[FieldError]:
    starts, expires = fields.get("starts"), fields.get("expires")
    if starts is not None and expires is not None and starts >= expires:
        yield FieldError("expires_at", "must be later than starts_at")
    rules: tuple[Rule, ...] = fields.get("rules", ())
    variants: tuple[Variant, ...] = fields.get("variants", ())
    if rules or variants:
        yield from branch_faults(rules, variants)
