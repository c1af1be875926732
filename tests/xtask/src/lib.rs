//! Everything a developer does: demo, test, bench, tidy.
