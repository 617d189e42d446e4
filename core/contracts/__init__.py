"""What problems and backends owe to `core`, what they may offer besides, and what a solve returns."""
