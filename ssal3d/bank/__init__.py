"""The bank of objects and backgrounds that training pastes from, as generations on disk."""
