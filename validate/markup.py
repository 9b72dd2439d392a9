"""Elements of HTML, SVG and XML: whatever text goes in is text, never markup.

html(tag("p", "1 < 2", class_="note"))      # <p class="note">1 &lt; 2</p>
"""

import re
from collections.abc import Iterable
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
