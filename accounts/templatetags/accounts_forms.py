"""Draws allauth's form fields as the admin draws its own."""

from django import template
from django.forms import BoundField
from django.utils.safestring import SafeString
from unfold.widgets import INPUT_CLASSES

register = template.Library()


@register.simple_tag
def unfold_field(field: BoundField) -> SafeString:
    """The field's input with the admin's classes."""
    return field.as_widget(attrs={"class": " ".join(INPUT_CLASSES)})


@register.simple_tag
def input_classes() -> str:
    return " ".join(INPUT_CLASSES)
