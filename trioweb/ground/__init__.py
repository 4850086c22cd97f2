"""Ground floor: parsers, encoders and values. Pure: no trio, no I/O, nothing from the floors above."""
