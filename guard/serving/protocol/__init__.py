"""The messages and service stubs that protoc made from protos/; `make protos` makes them anew."""

__all__: list[str] = []
