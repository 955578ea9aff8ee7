"""What everybody may ask of the station."""
