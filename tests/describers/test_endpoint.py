"""Addresses of servers: what is one, which are this machine, which are allowed."""

from __future__ import annotations

import pytest

from napari_patchioner.describers import Endpoint, question
from napari_patchioner.errors import ModelError


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"),
        ("http://localhost:8080/", "http://localhost:8080/v1"),
        (" https://GPU.example:443/api/v1/ ", "https://gpu.example/api/v1"),
        ("http://[::1]:8000", "http://[::1]:8000/v1"),
    ],
)
def test_an_address_is_brought_to_one_form(given, address):
    assert Endpoint(given).address == address


@pytest.mark.parametrize(
    "given",
    [
        "",
        "localhost:8080",
        "ftp://127.0.0.1/v1",
        "file:///etc/passwd",
        "http://",
        "http://me:secret@127.0.0.1/v1",
        "http://127.0.0.1/v1?key=1",
        "http://127.0.0.1:99999/v1",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/\nv1",
        "http://" + "a" * 600,
    ],
)
def test_what_is_no_address_is_refused_in_one_sentence(given):
    with pytest.raises(ModelError, match=r"^[^\n]+\.$"):
        Endpoint(given)


def test_a_log_in_of_an_address_is_not_repeated():
    with pytest.raises(ModelError) as refused:
        Endpoint("http://me:secret@127.0.0.1/v1")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("http://localhost/v1", True),
        ("http://127.8.0.1:1/v1", True),
        ("http://[::1]/v1", True),
        ("http://0.0.0.0:11434/v1", False),
        ("http://192.168.1.2/v1", False),
        ("http://localhost.example/v1", False),
        ("http://127.0.0.1.example/v1", False),
        ("http://2130706433/v1", False),
    ],
)
def test_only_loopback_is_this_machine(address, local):
    assert Endpoint(address).is_local is local


def test_another_host_has_to_be_allowed_with_its_scheme_and_port():
    address, host = "http://gpu.example:8000/v1", "http://gpu.example:8000"
    with pytest.raises(ModelError, match=r"gpu\.example:8000 is not this machine"):
        Endpoint(address).check()
    with pytest.raises(ModelError, match="not this machine"):
        Endpoint(address, allowed=["https://gpu.example:8000", "http://gpu.example"]).check()
    Endpoint(address, allowed=[host]).check()


def test_the_question_names_the_host_and_says_that_crops_leave():
    text = question(Endpoint("http://gpu.example:8000"))
    assert "http://gpu.example:8000" in text
    assert "Crops of your image" in text
    assert "leave this machine" in text
    assert "not encrypted" in text
    assert "not encrypted" not in question(Endpoint("https://gpu.example"))


def test_a_key_is_in_no_text_of_an_endpoint():
    endpoint = Endpoint("http://127.0.0.1/v1", " sk-secret ")
    assert endpoint.key == "sk-secret"
    assert "secret" not in repr(endpoint) + str(endpoint)
    with pytest.raises(ModelError) as refused:
        Endpoint("http://127.0.0.1/v1", "two\nlines-secret")
    assert "secret" not in str(refused.value)
