"""Path converters that the apps' urls.py share."""

from django.urls import register_converter


class KeyConverter:
    """The key of a definition, a slot or a board, as in `<key:slot>`."""

    regex = "[a-z0-9][a-z0-9_.-]{0,63}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(KeyConverter, "key")
