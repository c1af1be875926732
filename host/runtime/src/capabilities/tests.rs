//! What the linker is said to define is what it defines.

use super::*;

#[test]
fn every_interface_listed_reads_as_one() {
    for name in INTERFACES {
        assert!(name.parse::<Interface>().is_ok(), "{name}");
    }
}
