//! Names of what the kinds of durability `lattice` have in JetStream: a stream and a store for each shard, and
//! the buckets of leases and owners.
//!
//! Subjects of records and of stores cross leaf connections, whichever domain a server is of: a stream there
//! that has the same subject stores them as well. So what is in another domain than the lattice's own has that
//! domain in each of its names, last: `TRELLIS_<lattice>_sessions_<domain>`. A domain begins with a letter and
//! has no `_` ([`DomainName`]), a shard is a number: no name can be read as that of another domain.

use super::Subjects;
use crate::name::{DomainName, KindName};
use std::fmt;

/// The end of a name: the domain, behind a separator.
struct End<'a>(char, Option<&'a DomainName>);

impl fmt::Display for End<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(domain) => write!(formatter, "{}{domain}", self.0),
            None => Ok(()),
        }
    }
}

impl Subjects {
    /// The same lattice, with the shards that are in this domain; none: in the lattice's own.
    #[must_use]
    pub fn in_domain(&self, domain: Option<DomainName>) -> Self {
        Self { domain, ..self.clone() }
    }
    /// The domain of its shards, if it is not the lattice's own.
    #[must_use]
    pub fn domain(&self) -> Option<&DomainName> {
        self.domain.as_ref()
    }
    fn end(&self, separator: char) -> End<'_> {
        End(separator, self.domain.as_ref())
    }
    /// The records of one shard of a kind of durability `lattice`.
    #[must_use]
    pub fn shard(&self, kind: &KindName, shard: u16) -> String {
        self.in_lattice(format_args!("shard.{kind}.{shard}{}", self.end('.')))
    }
    /// The records of every shard.
    #[must_use]
    pub fn shards(&self) -> String {
        self.in_lattice(format_args!("shard.*.*{}", self.end('.')))
    }
    /// Asked of nobody: whoever may write records is told that nobody hears it, and who may not, that.
    #[must_use]
    pub fn shards_probe(&self) -> String {
        self.in_lattice(format_args!("shard._._{}", self.end('.')))
    }
    /// The stream of [`Self::shard`].
    #[must_use]
    pub fn shard_stream(&self, kind: &KindName, shard: u16) -> String {
        format!("TRELLIS_{}_shard_{kind}_{shard}{}", self.lattice, self.end('_'))
    }
    /// Object store: checkpoints of one shard and the snapshots in them, by digest.
    #[must_use]
    pub fn shard_store(&self, kind: &KindName, shard: u16) -> String {
        format!("TRELLIS_{}_snapshots_{kind}_{shard}{}", self.lattice, self.end('_'))
    }
    /// KV bucket: leases of hosts' sessions, one key each.
    #[must_use]
    pub fn sessions_bucket(&self) -> String {
        format!("TRELLIS_{}_sessions{}", self.lattice, self.end('_'))
    }
    /// KV bucket: who has which epoch of a shard, one key each.
    #[must_use]
    pub fn shards_bucket(&self) -> String {
        format!("TRELLIS_{}_shards{}", self.lattice, self.end('_'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::matches;

    fn names(subjects: &Subjects, kind: &str, shard: u16) -> [String; 5] {
        let kind: KindName = kind.parse().unwrap();
        [
            subjects.shard(&kind, shard),
            subjects.shard_stream(&kind, shard),
            subjects.shard_store(&kind, shard),
            subjects.sessions_bucket(),
            subjects.shards_bucket(),
        ]
    }

    #[test]
    fn what_is_in_the_lattices_own_domain_is_named_as_ever_and_elsewhere_with_the_domain() {
        let own = Subjects::new("prod".parse().unwrap());
        assert_eq!(
            names(&own, "sum", 7),
            [
                "trellis.prod.shard.sum.7",
                "TRELLIS_prod_shard_sum_7",
                "TRELLIS_prod_snapshots_sum_7",
                "TRELLIS_prod_sessions",
                "TRELLIS_prod_shards",
            ]
        );
        let site = own.in_domain(Some("factory".parse().unwrap()));
        assert_eq!(
            names(&site, "sum", 7),
            [
                "trellis.prod.shard.sum.7.factory",
                "TRELLIS_prod_shard_sum_7_factory",
                "TRELLIS_prod_snapshots_sum_7_factory",
                "TRELLIS_prod_sessions_factory",
                "TRELLIS_prod_shards_factory",
            ]
        );
        assert_eq!(names(&site.in_domain(None), "sum", 7), names(&own, "sum", 7));
        for subjects in [&own, &site] {
            let kind = "sum".parse().unwrap();
            assert!(matches(&subjects.shards(), &subjects.shard(&kind, 7)));
            assert!(matches(&subjects.shards(), &subjects.shards_probe()));
        }
        let other = own.in_domain(Some("depot".parse().unwrap()));
        for (pattern, of) in [(&own, &site), (&site, &own), (&other, &site)] {
            assert!(!matches(&pattern.shards(), &of.shard(&"sum".parse().unwrap(), 7)), "another domain's");
        }
    }

    #[test]
    fn names_of_two_domains_are_never_the_same_whatever_kinds_are_called() {
        let own = Subjects::new("prod".parse().unwrap());
        let mut all = Vec::new();
        for domain in [None, Some("x"), Some("x1")] {
            let subjects = own.in_domain(domain.map(|domain| domain.parse().unwrap()));
            for kind in ["a", "a_1", "a_1_x", "a_x", "x", "x_1"] {
                for shard in [1, 11] {
                    all.extend(names(&subjects, kind, shard).into_iter().take(3));
                }
            }
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn the_longest_names_fit_a_bucket() {
        let longest = "x".repeat(64);
        let domain = "x".repeat(crate::name::MAX_DOMAIN_BYTES);
        let subjects = Subjects::new(longest.parse().unwrap()).in_domain(Some(domain.parse().unwrap()));
        let all = names(&subjects, &longest, 15);
        assert!(all.iter().all(|name| name.len() <= 200), "{all:?}");
    }
}
