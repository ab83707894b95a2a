"""The numbers behind a version: metrics, chance, calibration, floor. No database."""
