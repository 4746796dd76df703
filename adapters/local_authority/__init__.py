"""Built-in adapter: an authority's nightly extract in the shape of the CIN census, by the `xml-drop` connector."""
