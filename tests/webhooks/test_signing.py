"""Signatures are those that the specification shows."""

from __future__ import annotations

import base64
import secrets

from app.webhooks import Secret, make_secret, show_secret, sign


def test_signature_is_that_of_the_specification() -> None:
    """The example of its libraries' tests."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    fields = sign([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert fields == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_two_secrets_make_two_signatures() -> None:
    one, both = (sign(keys, "i", 1, b"b")["webhook-signature"] for keys in ([b"a"], [b"b", b"a"]))
    assert both.split(" ")[1] == one


def test_secret_is_shown_as_receivers_need_it_and_in_no_text_of_its_own() -> None:
    secret = make_secret(secrets.token_bytes)
    shown = show_secret(secret)
    assert base64.b64decode(shown.removeprefix("whsec_")) == secret
    assert len(secret) == 32
    assert repr(Secret(secret)) == str(Secret(secret)) == "Secret(…)"
