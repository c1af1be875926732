//! The rules of `deny.toml` applied to the packages of a build.

use cargo_metadata::semver::Version;

use super::config::Config;
use super::licence;
use crate::finding::Finding;

/// Where a package's code comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A folder of this repository.
    Ours,
    /// The public registry.
    Registry,
    /// Anything else, as cargo writes it.
    Other(String),
}

/// What the rules look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    pub name: String,
    pub version: Version,
    /// An SPDX expression.
    pub licence: Option<String>,
    pub source: Source,
}

impl From<&cargo_metadata::Package> for Package {
    fn from(package: &cargo_metadata::Package) -> Self {
        Self {
            name: package.name.to_string(),
            version: package.version.clone(),
            licence: package.license.clone(),
            source: match &package.source {
                None => Source::Ours,
                Some(source) if source.is_crates_io() => Source::Registry,
                Some(source) => Source::Other(source.repr.clone()),
            },
        }
    }
}

/// All violations by `packages`.
pub fn check(config: &Config, packages: &[Package]) -> Vec<Finding> {
    packages
        .iter()
        .flat_map(|package| [banned(config, package), bad_licence(config, package), bad_source(package)])
        .flatten()
        .collect()
}

fn place(package: &Package) -> String {
    format!("{} {}", package.name, package.version)
}

fn banned(config: &Config, package: &Package) -> Option<Finding> {
    let ban = config.bans.deny.iter().find(|ban| ban.spec.matches(&package.name, &package.version))?;
    let what = format!("banned in versions {}: {}", ban.spec.versions(), ban.reason);
    Some(Finding::new("ban", place(package), what))
}

fn bad_licence(config: &Config, package: &Package) -> Option<Finding> {
    let licences = &config.licenses;
    let exceptions = licences
        .exceptions
        .iter()
        .filter(|exception| exception.spec.matches(&package.name, &package.version))
        .flat_map(|exception| &exception.allow);
    let allowed: Vec<&str> = licences.allow.iter().chain(exceptions).map(String::as_str).collect();
    let what = match &package.licence {
        Some(expression) if licence::is_allowed(expression, &allowed) => return None,
        Some(expression) => format!("{expression} is not allowed by licenses.allow"),
        None => "no licence is given; find it out and decide".to_owned(),
    };
    Some(Finding::new("licence", place(package), what))
}

fn bad_source(package: &Package) -> Option<Finding> {
    let Source::Other(source) = &package.source else {
        return None;
    };
    let what = format!("comes from {source}; use a release from the registry");
    Some(Finding::new("source", place(package), what))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
        [licenses]
        allow = ["MIT"]
        exceptions = [{ crate = "odd", allow = ["Zlib"] }]
        [bans]
        deny = [{ crate = "h2:<0.4.16", reason = "resets" }, { crate = "bincode", reason = "dead" }]
        [sources]
        unknown-registry = "deny"
        unknown-git = "deny"
    "#;

    fn findings(name: &str, version: &str, licence: Option<&str>, source: Source) -> Vec<String> {
        let config = toml::from_str(CONFIG).unwrap();
        let package = Package {
            name: name.to_owned(),
            version: Version::parse(version).unwrap(),
            licence: licence.map(str::to_owned),
            source,
        };
        let found = check(&config, &[package]);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_good_package_passes() {
        assert!(findings("a", "1.0.0", Some("MIT"), Source::Registry).is_empty());
        assert!(findings("h2", "0.4.16", Some("MIT"), Source::Registry).is_empty());
        assert!(findings("odd", "1.0.0", Some("Zlib"), Source::Ours).is_empty());
    }

    #[test]
    fn bans_and_minimum_versions_name_their_reason() {
        assert_eq!(
            findings("h2", "0.4.15", Some("MIT"), Source::Registry),
            ["ban: h2 0.4.15: banned in versions <0.4.16: resets"]
        );
        assert_eq!(
            findings("bincode", "2.0.0", Some("MIT"), Source::Registry),
            ["ban: bincode 2.0.0: banned in versions *: dead"]
        );
    }

    #[test]
    fn an_unknown_licence_or_none_is_refused() {
        assert_eq!(
            findings("a", "1.0.0", Some("Zlib"), Source::Registry),
            ["licence: a 1.0.0: Zlib is not allowed by licenses.allow"]
        );
        assert_eq!(
            findings("a", "1.0.0", None, Source::Registry),
            ["licence: a 1.0.0: no licence is given; find it out and decide"]
        );
    }

    #[test]
    fn code_from_elsewhere_is_refused() {
        let git = Source::Other("git+https://example.org/a#1".to_owned());
        assert_eq!(
            findings("a", "1.0.0", Some("MIT"), git),
            ["source: a 1.0.0: comes from git+https://example.org/a#1; use a release from the registry"]
        );
    }
}
