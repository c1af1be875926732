//! Which life of the lattice this is. Revisions and generations only ever grow, so hosts refuse what
//! is older than what they have; a store that was restored from a backup begins with older numbers.
//! Its operator then starts the next incarnation by a signed act ([`Incarnation`]), and a generation of
//! a higher incarnation is newer than every one before it, whatever its number.

use crate::error::{ErrorCode, Report};
use crate::name::LatticeName;
use serde::{Deserialize, Serialize};

/// What its signature is made over (domain separation).
pub const INCARNATION_KIND: &str = "incarnation";
/// Its key in the lattice's bucket.
pub const INCARNATION_KEY: &str = "incarnation";
/// The life that a lattice begins with.
pub const FIRST: u64 = 1;

/// The statement, signed by a controller's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Incarnation {
    /// The lattice.
    pub lattice: LatticeName,
    /// Which life; [`FIRST`] needs no statement.
    pub incarnation: u64,
    /// Unix milliseconds, for people.
    pub at_unix_ms: u64,
    /// Who started it, for people.
    pub by: String,
    /// Why, for people.
    pub reason: String,
}

impl Incarnation {
    /// Reads the payload of a statement whose signature was verified.
    ///
    /// # Errors
    /// `E_DAMAGED` when it is not one; `E_DENIED` when it is of another lattice.
    pub fn read(payload: &[u8], lattice: &LatticeName) -> Result<Self, Report> {
        let read: Self = serde_json::from_slice(payload)
            .map_err(|error| Report::new(ErrorCode::Damaged, format!("incarnation not readable: {error}")))?;
        if read.lattice == *lattice {
            return Ok(read);
        }
        Err(Report::new(ErrorCode::Denied, "incarnation of another lattice")
            .got(&read.lattice)
            .limit(lattice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_counts_for_its_own_lattice_only() {
        let said = Incarnation {
            lattice: "prod".parse().unwrap(),
            incarnation: 2,
            at_unix_ms: 7,
            by: "ann".to_owned(),
            reason: "disk lost".to_owned(),
        };
        let payload = serde_json::to_vec(&said).unwrap();
        assert_eq!(Incarnation::read(&payload, &said.lattice).unwrap(), said);
        let other = Incarnation::read(&payload, &"test".parse().unwrap()).unwrap_err();
        assert_eq!(other.code, ErrorCode::Denied);
        assert_eq!(Incarnation::read(b"{}", &said.lattice).unwrap_err().code, ErrorCode::Damaged);
    }
}
