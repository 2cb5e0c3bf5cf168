"""Parses blocks and views with slack_sdk.models, and says what is wrong with them.

The models leave out what they don't know, so what they give back is compared with what they got.
"""

import json
import sys

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block, Option
from slack_sdk.models.views import View


def lost(given, kept, path):
    """What is in the one and not, or otherwise, in the other."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            if name not in kept:
                # The models drop what is false or empty.
                if value not in (False, None, "", []):
                    yield f"{path}/{name} is unknown"
            else:
                yield from lost(value, kept[name], f"{path}/{name}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for index, (one, other) in enumerate(zip(given, kept)):
            yield from lost(one, other, f"{path}/{index}")
    elif given != kept:
        yield f"{path} became {kept!r}"


def inner(value):
    """Every model inside of one."""
    if hasattr(value, "validate_json"):
        yield value
        for name in value.attributes:
            yield from inner(getattr(value, name, None))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from inner(item)


def problems(order):
    if "view" in order:
        models = [View(**order["view"])]
        given = [order["view"]]
    elif "options" in order:
        given = order["options"]
        models = Option.parse_all(given)
    else:
        given = order["blocks"]
        models = Block.parse_all(given)
        if len(given) > 50:
            yield "more than 50 blocks"
    if len(models) != len(given) or None in models:
        yield "a type that the SDK does not know"
        return
    for index, (one, model) in enumerate(zip(given, models)):
        for part in inner(model):
            try:
                part.validate_json()
            except SlackObjectFormationError as error:
                yield f"/{index} {type(part).__name__}: {error}"
        yield from lost(one, model.to_dict(), f"/{index}")


for line in sys.stdin:
    try:
        found = list(problems(json.loads(line)))
    except Exception as error:  # The SDK's constructors raise what they like.
        found = [f"{type(error).__name__}: {error}"]
    print(json.dumps({"saw": "models", "problems": found}), flush=True)
