"""Elements of HTML, SVG and XML: any text that is put in stays text, never becomes markup.

html(tag("p", "1 < 2", class_="note"))      # <p class="note">1 &lt; 2</p>
"""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

Inside = Element | str | None

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold, escaped or not: a runtime may print them. https://www.w3.org/TR/xml/#charsets"""


def tag(name: str, /, *inside: Inside, **attributes: str | float | bool | None) -> Element:
    """Return an element.

    `class_` is class, `aria_label` is aria-label; None and False are left out, True has no value.
    """
    element = Element(name)
    for key, value in attributes.items():
        if value is not None and value is not False:
            element.set(key.rstrip("_").replace("_", "-"), "" if value is True else _text(value))
    put(element, inside)
    return element


def put(element: Element, inside: Iterable[Inside]) -> None:
    """Append text and elements to an element."""
    for item in inside:
        if isinstance(item, Element):
            element.append(item)
        elif item is not None and len(element):
            element[-1].tail = (element[-1].tail or "") + _text(item)
        elif item is not None:
            element.text = (element.text or "") + _text(item)


def _text(value: str | float) -> str:
    return _NO_XML.sub("\ufffd", value) if isinstance(value, str) else f"{value:.6g}"


def html(root: Element) -> str:
    """Return an element as a browser reads it."""
    return ElementTree.tostring(root, encoding="unicode", method="html")


def xml(root: Element) -> str:
    """Return an XML document of an element, with its declaration, indented."""
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text.decode() + "\n"


def url(image: bytes, kind: str) -> str:
    """Return the address that holds an image file itself; kind: png or jpeg."""
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def wide(label: str, head: Sequence[Inside], body: Iterable[Inside], class_: str = "") -> Element:
    """Return a table, of header cells and of rows, that scrolls by itself."""
    return scrolling(label, tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body), class_=class_ or None))


def scrolling(label: str, inside: Element) -> Element:
    """Return a region that scrolls by itself where the screen is narrow, with the keyboard, too."""
    return tag("div", inside, class_="wide", tabindex="0", role="region", aria_label=label)


def table(label: str, head: Sequence[str], rows: Iterable[Sequence[Inside]], class_: str = "") -> Element:
    """Return a table of plain cells that scrolls by itself; the first cell of a row says what the row is about."""
    body = [tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:])) for row in rows]
    return wide(label, [tag("th", name, scope="col") for name in head], body, class_)


def facts(values: Mapping[str, Inside]) -> Element:
    """Return a list of names and values; a value of None is left out."""
    pairs = [(tag("dt", key), tag("dd", value)) for key, value in values.items() if value is not None]
    return tag("dl", *(part for pair in pairs for part in pair))
