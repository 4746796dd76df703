"""Built-in adapter: childrens_centre."""
