"""CP-IS: what an authority tells the NHS of its plans, keyed on NHS numbers. The manifest is the whole adapter."""
