"""The cache of values that all visitors share."""

from __future__ import annotations

from archcalc.dashboard.lru_cache import LruCache


def test_a_value_is_created_once_and_the_least_recently_used_one_is_dropped() -> None:
    cache, calls = LruCache[str](2), []

    def create(name: str) -> str:
        calls.append(name)
        return name

    for name in ("a", "b", "a", "c", "a", "b"):
        assert cache.get_or_create(name, lambda name=name: create(name)) == name
    assert calls == ["a", "b", "c", "b"]
    assert cache.get("c") is None
