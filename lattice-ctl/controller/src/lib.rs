//! Watch, observe, plan, sign, execute.
