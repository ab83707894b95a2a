"""The product's own package: settings, admin site, embedded services, commands."""
