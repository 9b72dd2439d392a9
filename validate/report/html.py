"""Elements of HTML, SVG and XML: whatever text goes in is text, never markup.

html(tag("p", "1 < 2", class_="note"))      # <p class="note">1 &lt; 2</p>
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

Inside = Element | str | None

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold, escaped or not: a runtime may print them. https://www.w3.org/TR/xml/#charsets"""


def tag(name: str, /, *inside: Inside, **attributes: str | float | bool | None) -> Element:
    """An element. `class_` is class, `aria_label` is aria-label; None and False are left out, True has no value."""
    found = Element(name)
    for key, value in attributes.items():
        if value is not None and value is not False:
            found.set(key.rstrip("_").replace("_", "-"), "" if value is True else _text(value))
    put(found, inside)
    return found


def put(into: Element, inside: Iterable[Inside]) -> None:
    """At the end of an element."""
    for one in inside:
        if isinstance(one, Element):
            into.append(one)
        elif one is not None and len(into):
            into[-1].tail = (into[-1].tail or "") + _text(one)
        elif one is not None:
            into.text = (into.text or "") + _text(one)


def _text(value: str | float) -> str:
    return _NO_XML.sub("\ufffd", value) if isinstance(value, str) else f"{value:.6g}"


def html(root: Element) -> str:
    """As a browser reads it."""
    return ElementTree.tostring(root, encoding="unicode", method="html")


def xml(root: Element) -> str:
    """With its declaration, indented."""
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text.decode() + "\n"


def wide(label: str, head: Sequence[Inside], body: Iterable[Inside], class_: str = "") -> Element:
    """A table of rows as they are, which scrolls."""
    return scrolling(label, tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body), class_=class_ or None))


def scrolling(label: str, inside: Element) -> Element:
    """By itself where the screen is narrow, with the keyboard, too."""
    return tag("div", inside, class_="wide", tabindex="0", role="region", aria_label=label)


def table(label: str, head: Sequence[str], rows: Iterable[Sequence[Inside]], class_: str = "") -> Element:
    """A table of plain cells, which scrolls; the first of a row says what the row is about."""
    body = [tag("tr", tag("th", row[0], scope="row"), *(tag("td", one) for one in row[1:])) for row in rows]
    return wide(label, [tag("th", one, scope="col") for one in head], body, class_)


def facts(named: Mapping[str, Inside]) -> Element:
    """A list of what is known, by name; None is not."""
    known = [(tag("dt", key), tag("dd", value)) for key, value in named.items() if value is not None]
    return tag("dl", *(one for pair in known for one in pair))
