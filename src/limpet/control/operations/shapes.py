"""What all models of the API share."""

from pydantic import BaseModel, ConfigDict


class Input(BaseModel):
    """What a caller gives: unknown fields are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Output(BaseModel):
    """What a caller gets; made from a mapping or from an object's attributes.

    The schema says that every field is there, since it is, those with a default too.
    """

    model_config = ConfigDict(
        from_attributes=True, json_schema_serialization_defaults_required=True
    )
