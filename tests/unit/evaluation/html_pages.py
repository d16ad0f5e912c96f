"""An HTML page as tests look at it."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """Every element with its attributes, and all text outside of styles and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def ids(self) -> set[str]:
        return {attributes["id"] for _, attributes in self.elements if "id" in attributes}

    @property
    def files(self) -> list[str]:
        return [
            attributes[key]
            for _, attributes in self.elements
            for key in ("src", "srcset")
            if key in attributes
        ]

    @property
    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}

    @property
    def links(self) -> set[str]:
        return {attributes["href"] for tag, attributes in self.elements if tag == "a"}

    def assert_self_contained(self) -> None:
        """Nothing is fetched from outside of the folder, and no text became a handler."""
        assert "://" not in self.source
        assert "url(" not in self.source
        assert "@import" not in self.source
        assert not self.tags & {"link", "iframe", "object", "base"}
        assert not any(name.startswith("on") for _, each in self.elements for name in each)
        assert not any(name.startswith(("/", "..")) for name in self.files)
