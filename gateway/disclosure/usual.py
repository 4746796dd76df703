"""The short way of typed resources without labels of their own: what holds for all of one kind is worked out once.

It changes a resource in place, for nobody else holds it, and takes only what the long way would treat alike: a test holds
the two to the same bytes. Anything else goes the long way.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import UNSET

from gateway.disclosure.labels import security_of
from gateway.disclosure.stripping import fields_of, whole
from gateway.model import Disclosed, MappedResource, Mark
from gateway.resource import Typed, encoded_form, probe


class Usual:
    """Typed resources of one type, from one source, with the same marks, class and ruling."""

    __slots__ = ("_alone", "_gone", "_inner", "_is_whole", "_looks", "_no_inner", "_nothing", "_of")

    def __init__(
        self, item: MappedResource, gone: Iterable[tuple[Mark, tuple[str, ...], tuple[str, ...]]], rules: tuple[str, ...]
    ) -> None:
        self._of = (item.source, item.category, item.care_class, rules)
        self._gone = tuple((mark, tops) for mark, tops, _ in gone)
        names = tuple(dict.fromkeys(name for _, tops, _ in gone for name in tops))
        self._looks, self._nothing = probe(names)
        inner = tuple(dict.fromkeys(name for _, _, inner in gone for name in inner))
        self._inner, self._no_inner = probe(inner)
        self._is_whole = whole(item.body.kind, item.body.form.__class__)  # type: ignore[attr-defined] # it is Typed
        self._alone: Mapping[str, Any] = {"security": [*security_of(item.care_class)]}

    def disclosed(self, body: Typed) -> Disclosed | Mark | None:
        """As it will leave; the mark it is withheld for, when what is left of it is not whole; None: it goes the long way."""
        form = body.form
        if self._no_inner and self._inner(form) != self._no_inner:
            return None
        stripped: tuple[Mark, ...] = ()
        if self._looks(form) != self._nothing:
            for mark, names in self._gone:
                had = False
                for name in names:
                    if getattr(form, name) is not UNSET:
                        setattr(form, name, UNSET)
                        had = True
                if had:
                    if not self._is_whole(form):
                        return mark
                    stripped = (*stripped, mark)
        meta = form.meta
        form.meta = self._alone if meta is UNSET else {**meta, **self._alone}
        source, category, care_class, rules = self._of
        return Disclosed(body, source, category, care_class, rules, stripped, encoded_form(body))


def usual(item: MappedResource, work: Iterable[tuple[Mark, Any, frozenset[str], Any]], rules: tuple[str, ...]) -> Usual | None:
    """The first of many alike -> the short way for all of them; None where more is asked than taking fields out."""
    gone = []
    for mark, paths, *_ in work:
        if paths is None or mark is Mark.LOCATING:
            return None
        whole, tops, inner = fields_of(item.body.form.__class__, paths)  # type: ignore[attr-defined] # it is Typed
        if whole:
            return None
        gone.append((mark, tops, inner))
    return Usual(item, gone, rules)
