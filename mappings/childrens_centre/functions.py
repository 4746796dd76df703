"""What the centre's maps say that the language does not."""

from gateway.mapping.functions import Text, Unusable

_GIVERS = {
    "self": "The person",
    "mother": "Mother",
    "father": "Father",
    "step": "Step-parent",
    "foster": "Foster carer",
    "kinship": "Kinship carer",
    "guardian": "Guardian",
    "grandparent": "Grandparent",
    "other": "Another carer",
}
_FORMS = {"paper": "Signed on paper", "online": "Given online", "verbal": "Given by word of mouth"}


def giver(value: Text) -> Text:
    """What the giver is to the child -> the word for it. Nobody is named.

    >>> giver(Text("mother"))
    'Mother'
    """
    if value not in _GIVERS:
        raise Unusable("a giver of consent of no known kind")
    return Text(_GIVERS[value])


def form(value: Text) -> Text:
    """How it was given -> the title of what proves it.

    >>> form(Text("verbal"))
    'Given by word of mouth'
    """
    if value not in _FORMS:
        raise Unusable("a way of giving consent that is not known")
    return Text(_FORMS[value])
