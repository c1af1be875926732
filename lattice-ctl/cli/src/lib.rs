//! The trellis command.
