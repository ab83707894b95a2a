"""The numbers behind a version: metrics, chance, calibration, the floor. No database."""
