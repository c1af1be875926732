//! Pure placement: desired and observed in, plan and host specs out.
