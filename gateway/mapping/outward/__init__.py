"""Outward maps: R4 resources in, a source's own record out. The same language, the other way round."""
