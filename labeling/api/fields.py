"""Fields of JSON bodies that take what the schema says, and guess nothing.

REST framework's own fields read "3" as a number, 0 as a text and "no" as False: fine
for forms, but a client app that sends them has a mistake that should be found.
"""

from typing import Any

from rest_framework import serializers


class Text(serializers.CharField):
    """A JSON string."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Whole(serializers.IntegerField):
    """A JSON number without a fraction."""

    def to_internal_value(self, data: Any) -> int:
        # True is an int to Python.
        if type(data) is not int and not (type(data) is float and data.is_integer()):
            self.fail("invalid")
        return super().to_internal_value(int(data))


class YesNo(serializers.BooleanField):
    """true or false."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data
