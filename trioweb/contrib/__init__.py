"""Adapters to what others have made, each in a module that users import by its name; nothing else knows them."""
