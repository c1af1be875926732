//! TLS both ways: the server proves itself to the client, and the client to the server.

use crate::SOON;
use anyhow::{Context, Result, ensure};
use lattice_io::nats::{ConnectError, NatsOptions, NatsTls, connect};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::{Path, PathBuf};
use tests_harness::NatsServer;

/// An authority of this test, its certificate in `<dir>/ca.pem`.
struct Authority {
    dir: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        std::fs::write(dir.join("ca.pem"), issuer.pem())?;
        Ok(Self { dir: dir.to_owned(), issuer })
    }

    fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Certificate and key for 127.0.0.1, in files.
    fn issue(&self, name: &str) -> Result<(PathBuf, PathBuf)> {
        let key = KeyPair::generate()?;
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let paths = (self.dir.join(format!("{name}.pem")), self.dir.join(format!("{name}.key")));
        std::fs::write(&paths.0, certificate.pem())?;
        std::fs::write(&paths.1, key.serialize_pem())?;
        Ok(paths)
    }
}

#[tokio::test]
async fn both_sides_must_prove_themselves() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let ours = Authority::new(&dir.path().join("ours"))?;
    let theirs = Authority::new(&dir.path().join("theirs"))?;
    let (certificate, key) = ours.issue("server")?;
    let config = format!(
        "tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {:?}, verify: true }}",
        ours.ca()
    );
    let options = tests_harness::NatsOptions { operator_config: Some(config), ..Default::default() };
    let server = NatsServer::start(options).await?;
    let connect_with = |tls: NatsTls| {
        let mut options = NatsOptions::new(server.url());
        options.tls = Some(tls);
        connect(options)
    };

    let client = Some(ours.issue("client")?);
    let good = connect_with(NatsTls { ca: Some(ours.ca()), client: client.clone() }).await?;
    good.lattice().bus.flush().await?;

    let strange_server = connect_with(NatsTls { ca: Some(theirs.ca()), client }).await.err();
    let error = strange_server.context("an authority that did not issue the server's certificate")?;
    ensure!(matches!(error, ConnectError::Tls { .. } | ConnectError::Refused { .. }), "{error:?}");

    for client in [None, Some(theirs.issue("client")?)] {
        let stranger = connect_with(NatsTls { ca: Some(ours.ca()), client });
        ensure!(tokio::time::timeout(SOON, stranger).await?.is_err(), "a client without a good certificate");
    }
    Ok(())
}
