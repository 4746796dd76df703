"""What the reading of foreign bytes may raise that nobody foresaw, by any of the libraries that read them.

Not a full disk and not the want of memory, which are no fault of a file: that one comes again.
"""

import csv
import zipfile
import zlib
from typing import Final

from lxml import etree

UNFORESEEN: Final = "it could not be read, and nobody foresaw why"
TRIPPED_OVER: Final = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    SyntaxError,
    EOFError,
    csv.Error,
    zlib.error,
    zipfile.BadZipFile,
    etree.LxmlError,
)
