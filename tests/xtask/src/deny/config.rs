//! `deny.toml`, as cargo-deny defines it, as far as it is used here.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use cargo_metadata::semver::{Version, VersionReq};
use serde::Deserialize;

/// The whole file. An unknown key in a section that is enforced here is an error.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub licenses: Licences,
    pub bans: Bans,
    pub sources: Sources,
    /// For cargo-deny only: which targets its graph has, and how it judges advisories.
    #[serde(default, rename = "graph")]
    _graph: toml::Table,
    #[serde(default, rename = "advisories")]
    _advisories: toml::Table,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Licences {
    /// SPDX identifiers, with an exception written as `Apache-2.0 WITH LLVM-exception`.
    pub allow: Vec<String>,
    /// More licences, for one crate each.
    #[serde(default)]
    pub exceptions: Vec<Exception>,
    #[serde(default, rename = "confidence-threshold")]
    _confidence_threshold: Option<f64>,
    #[serde(default, rename = "unused-allowed-license")]
    _unused_allowed_license: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    #[serde(rename = "crate")]
    pub spec: Spec,
    pub allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Bans {
    pub deny: Vec<Ban>,
    #[serde(default, rename = "multiple-versions")]
    _multiple_versions: Option<String>,
    #[serde(default, rename = "wildcards")]
    _wildcards: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ban {
    #[serde(rename = "crate")]
    pub spec: Spec,
    /// Why, and what to use instead: shown to whoever adds it.
    pub reason: String,
}

/// Everything comes from the public registry; nothing else is offered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sources {
    pub unknown_registry: String,
    pub unknown_git: String,
}

/// `name`, `name:<1.2.3` (versions that match) or `name@1.2.3` (exactly this one).
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Spec {
    name: String,
    versions: VersionReq,
}

impl Spec {
    pub fn matches(&self, name: &str, version: &Version) -> bool {
        self.name == name && self.versions.matches(version)
    }

    /// The versions meant, for a message.
    pub fn versions(&self) -> &VersionReq {
        &self.versions
    }
}

impl TryFrom<String> for Spec {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        let (name, versions) = match (text.split_once('@'), text.split_once(':')) {
            (Some((name, version)), _) => (name, VersionReq::parse(&format!("={version}"))),
            (None, Some((name, versions))) => (name, VersionReq::parse(versions)),
            (None, None) => (text.as_str(), Ok(VersionReq::STAR)),
        };
        Ok(Self {
            name: name.to_owned(),
            versions: versions.with_context(|| format!("{text:?}: no versions"))?,
        })
    }
}

impl Config {
    /// # Errors
    /// Not there, not TOML, or it asks for something that is not enforced here.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text)?;
        for (key, value) in [
            ("unknown-registry", &config.sources.unknown_registry),
            ("unknown-git", &config.sources.unknown_git),
        ] {
            if value != "deny" {
                bail!("sources.{key}: got {value:?}; only \"deny\" is supported");
            }
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Spec {
        Spec::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn a_spec_means_all_some_or_one_version() {
        let version = |text: &str| Version::parse(text).unwrap();
        assert!(spec("bincode").matches("bincode", &version("1.0.0")));
        assert!(!spec("bincode").matches("bincode2", &version("1.0.0")));
        assert!(spec("h2:<0.4.16").matches("h2", &version("0.3.27")));
        assert!(!spec("h2:<0.4.16").matches("h2", &version("0.4.16")));
        assert!(spec("x@1.2.3").matches("x", &version("1.2.3")));
        assert!(!spec("x@1.2.3").matches("x", &version("1.2.4")));
        assert!(Spec::try_from("x:many".to_owned()).is_err());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let good = "[licenses]\nallow = []\n[bans]\ndeny = []\n\
                    [sources]\nunknown-registry = \"deny\"\nunknown-git = \"deny\"\n";
        Config::parse(good).unwrap();
        let warn = good.replacen("\"deny\"", "\"warn\"", 1);
        let error = format!("{:#}", Config::parse(&warn).unwrap_err());
        assert!(error.contains("sources.unknown-registry"), "{error}");
        let unknown = good.replace("allow = []", "allow = []\ncopyleft = \"deny\"");
        let error = format!("{:#}", Config::parse(&unknown).unwrap_err());
        assert!(error.contains("copyleft"), "{error}");
    }
}
