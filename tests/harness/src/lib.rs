//! Real servers and hosts for tests: started, watched, killed on drop.
