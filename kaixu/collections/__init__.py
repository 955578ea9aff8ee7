"""Collections: texts cut, embedded, stored, found again. Between the gate and the doors."""
