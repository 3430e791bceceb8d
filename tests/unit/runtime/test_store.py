import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.kube.meta import ObjectKey
from outrider.runtime.store import Store


def key(name: str, namespace: str = "n") -> ObjectKey:
    return ObjectKey(namespace, name)


def words(text: str) -> list[str]:
    return text.split()


def test_objects_are_found_by_key_namespace_and_index() -> None:
    store: Store[str] = Store({"word": words})
    store.put(key("a"), "red blue")
    store.put(key("b"), "blue")
    store.put(key("a", "m"), "green")
    assert store.get(key("a")) == "red blue"
    assert store.get(key("x")) is None
    assert sorted(store.namespace("n")) == ["blue", "red blue"]
    assert store.namespace("x") == []
    assert store.index("word", "blue") == ["red blue", "blue"]
    assert store.index("word", "pink") == []
    assert len(store) == 3
    with pytest.raises(KeyError):
        store.index("undeclared", "x")


def test_a_replaced_object_leaves_its_old_places() -> None:
    store: Store[str] = Store({"word": words})
    store.put(key("a"), "red blue")
    store.put(key("a"), "blue green")
    assert store.index("word", "red") == []
    assert store.index("word", "green") == ["blue green"]
    assert store.remove(key("a")) == "blue green"
    assert store.remove(key("a")) is None
    assert store.index("word", "blue") == []
    assert list(store) == []


def test_an_object_is_unfiled_from_where_it_was_filed() -> None:
    """Even when the index function would now say otherwise."""
    store: Store[list[str]] = Store({"self": lambda obj: obj})
    obj = ["x"]
    store.put(key("a"), obj)
    obj[0] = "y"
    store.remove(key("a"))
    assert store.index("self", "x") == []
    assert store.index("self", "y") == []


def test_an_index_function_that_fails_costs_its_entry_only(caplog: pytest.LogCaptureFixture) -> None:
    store: Store[str] = Store({"number": lambda obj: [str(int(obj))], "word": words})
    store.put(key("a"), "7")
    store.put(key("b"), "seven")
    assert store.index("number", "7") == ["7"]
    assert store.index("word", "seven") == ["seven"]
    assert "index number failed for n/b" in caplog.text


operations = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["m", "n"]), st.none() | st.text("xyz ", max_size=5))
)


@given(operations)
def test_indexes_always_agree_with_the_objects(changes: list[tuple[str, str, str | None]]) -> None:
    store: Store[str] = Store({"word": words})
    model: dict[ObjectKey, str] = {}
    for name, namespace, obj in changes:
        if obj is None:
            assert store.remove(key(name, namespace)) == model.pop(key(name, namespace), None)
        else:
            store.put(key(name, namespace), obj)
            model[key(name, namespace)] = obj
    assert {place: store.get(place) for place in store} == model
    assert sorted(store.all()) == sorted(model.values())
    for word in {word for obj in model.values() for word in words(obj)} | {"x", "y"}:
        assert sorted(store.index("word", word)) == sorted(o for o in model.values() if word in words(o))
