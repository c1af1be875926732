//! Component-model values in their binary encoding.
