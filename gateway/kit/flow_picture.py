"""The data-flow matrix as a picture: rows of what, columns of whom, a filled cell where it may arrive."""

from html import escape
from typing import Final

from gateway.kit.flow import Matrix
from gateway.model import CareClass

LEFT: Final = 470
TOP: Final = 190
WIDE: Final = 112
HIGH: Final = 26
FILL: Final = {  # the more restricted, the darker
    CareClass.IDENTITY: "#41729f",
    CareClass.OPERATIONAL: "#7ba0bd",
    CareClass.HEALTH: "#2e8b7a",
    CareClass.SOCIAL_CARE: "#b5651d",
    CareClass.SAFEGUARDING: "#a32638",
    CareClass.SPECIAL: "#4a154b",
}


def picture(made: Matrix) -> str:
    """The matrix as SVG."""
    columns = made.reached()
    width, height = LEFT + WIDE * len(columns) + 140, TOP + HIGH * len(made.cells) + 50
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        'aria-label="Data-flow matrix: what may reach whom at most" font-family="sans-serif" font-size="12">',
        "<title>Data-flow matrix: what may reach whom at most</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for number, recipient in enumerate(columns):
        x = LEFT + WIDE * number + WIDE // 2
        text = escape(str(recipient))
        out.append(f'<text transform="translate({x} {TOP - 10}) rotate(-40)" fill="#222">{text}</text>')
    for line, (row, cells) in enumerate(made.cells.items()):
        y = TOP + HIGH * line
        if line % 2 == 0:
            out.append(f'<rect x="0" y="{y}" width="{width}" height="{HIGH}" fill="#f4f4f1"/>')
        marks = f" + {', '.join(row.marks)}" if row.marks else ""
        text = escape(f"{row.source} · {row.category} · {row.care_class}{marks}")
        out.append(f'<text x="{LEFT - 10}" y="{y + 17}" text-anchor="end" fill="#222">{text}</text>')
        for number, recipient in enumerate(columns):
            purposes = " ".join(cells.get(recipient, ()))
            x = LEFT + WIDE * number
            if purposes:
                box = f'x="{x + 2}" y="{y + 2}" width="{WIDE - 4}" height="{HIGH - 4}"'
                out.append(f'<rect {box} rx="3" fill="{FILL[row.care_class]}"/>')
                middle = f'x="{x + WIDE // 2}" y="{y + 17}" text-anchor="middle"'
                out.append(f'<text {middle} fill="#fff" font-size="9">{escape(purposes)}</text>')
            else:
                out.append(f'<circle cx="{x + WIDE // 2}" cy="{y + HIGH // 2}" r="1.5" fill="#999"/>')
    y = TOP + HIGH * len(made.cells) + 30
    for number, (care_class, colour) in enumerate(FILL.items()):
        x = 20 + 120 * number
        out.append(f'<rect x="{x}" y="{y - 11}" width="14" height="14" fill="{colour}"/>')
        out.append(f'<text x="{x + 20}" y="{y}" fill="#222">{care_class}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"
