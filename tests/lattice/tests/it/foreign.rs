//! Components of other projects' users (`guests/compat`), unmodified: on a lattice by wasmCloud's own form
//! of manifest, and in one process.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;
use tests_harness::{Process, ProcessSpec, RedisServer, eventually, fixtures, workspace};
use tests_lattice::{PATIENCE, TestLattice, free_port, http};

/// The manifest beside a component.
fn manifest_of(component: &str) -> Result<String> {
    let path = workspace::root().join("guests/compat").join(component).join("wadm.yaml");
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Deploys the manifest of a component that listens on port 8000; gives where it listens now.
fn deploy(lattice: &TestLattice, manifest: &str, components: &[&str]) -> Result<SocketAddr> {
    let port = free_port()?;
    lattice.deploy_foreign(&manifest.replace(":8000", &format!(":{port}")), components)?;
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn get(address: SocketAddr, path: &str) -> Result<String> {
    let (status, body) = http(address, "GET", path, "")?;
    ensure!(status == 200, "{path}: {status} {body}");
    Ok(body)
}

/// What runs under `wasmtime serve`, what Spin's templates make, and wasmCloud's hello, each by the same manifest.
#[tokio::test(flavor = "multi_thread")]
async fn hello_of_every_project_runs_on_a_lattice() -> Result<()> {
    let lattice = TestLattice::start(1).await?;
    let hello = manifest_of("wasmcloud-hello")?;
    for (component, greeting) in [
        ("wasmcloud-hello", "wasmcloud says hello at /x\n"),
        ("wasi-hello", "wasi says hello at /x\n"),
        ("wasip3-hello", "wasip3 says hello at /x\n"),
        ("wstd-hello", "wstd says hello at /x\n"),
        ("spin-hello", "spin says hello at /x\n"),
        ("spin-hello-5", "spin 5 says hello at /x\n"),
    ] {
        let file = component.replace('-', "_");
        let manifest = hello.replace("rust-hello-world", component).replace("wasmcloud_hello", &file);
        let address = deploy(&lattice, &manifest, &[component])?;
        assert_eq!(get(address, "/x")?, greeting, "{component}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wasmcloud_s_counter_counts_in_the_store_that_its_link_name_chooses() -> Result<()> {
    let (lattice, redis) = (TestLattice::start(1).await?, RedisServer::start().await?);
    let manifest = manifest_of("wasmcloud-counter")?.replace("redis://0.0.0.0:6379", &redis.url());
    let address = deploy(&lattice, &manifest, &["wasmcloud-counter"])?;
    assert_eq!(get(address, "/a")?, "Seen /a: 1\n");
    assert_eq!(get(address, "/a")?, "Seen /a: 2\n");
    assert_eq!(get(address, "/a?link_name=other")?, "Seen /a: 1\n", "another store");
    assert_eq!(get(address, "/a?link_name=default")?, "Seen /a: 3\n");
    assert_eq!(http(address, "GET", "/a?link_name=nowhere", "")?.0, 500, "no such link");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wasmcloud_s_echo_answers_messages() -> Result<()> {
    let lattice = TestLattice::start(1).await?;
    lattice.deploy_foreign(&manifest_of("wasmcloud-echo")?, &["wasmcloud-echo"])?;
    let answer = lattice.trellis(&["publish", "wasmcloud.echo", "--data", "marco", "--wait-ms", "5000"])?;
    assert!(answer.contains("marco"), "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wasmcloud_s_components_call_each_other_across_hosts() -> Result<()> {
    let lattice = TestLattice::start(2).await?;
    let manifest = manifest_of("wasmcloud-ping")?;
    let address = deploy(&lattice, &manifest, &["wasmcloud-ping", "wasmcloud-pong"])?;
    assert_eq!(get(address, "/?name=Bob")?, "Hello Bob! I got pong\n");
    assert_eq!(get(address, "/")?, "Hello World! I got pong\n");
    let actors = lattice.json(&["get", "actors"])?.to_string();
    assert!(actors.contains("\"H1\":1") && actors.contains("\"H2\":1"), "one on each host: {actors}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wasmcloud_s_file_server_keeps_files() -> Result<()> {
    let lattice = TestLattice::start(1).await?;
    let address = deploy(&lattice, &manifest_of("wasmcloud-blobby")?, &["wasmcloud-blobby"])?;
    let ask = |method: &str, body: &str| http(address, method, "/note.txt", body);
    assert_eq!(ask("GET", "")?.0, 404);
    let long = "0123456789abcdef".repeat(20_000);
    for content in ["short", long.as_str(), ""] {
        assert_eq!(ask("PUT", content)?.0, 201);
        let (status, body) = ask("GET", "")?;
        assert_eq!((status, body.len()), (200, content.len()));
        assert!(body == content, "the object came back changed");
    }
    assert_eq!(ask("DELETE", "")?.0, 200);
    assert_eq!(ask("GET", "")?.0, 404);
    Ok(())
}

const INTERFACES: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: foreign }
spec:
  actors:
    - name: interfaces
      artifact: interfaces.wasm
      config: { greeting: hello, api_password: { secretRef: vault-password } }
      links:
        - { to: http, interface: "wasi:http/incoming-handler", config: { path: / } }
        - { to: one, interface: "wasi:keyvalue", config: { bucket: { secretRef: bucket-name } } }
        - { to: one, interface: "wasmcloud:secrets" }
        - { to: two, name: other, interface: "wasi:keyvalue" }
        - { to: blobs, interface: "wasi:blobstore" }
        - { to: messages, interface: "wasmcloud:messaging" }
    - name: echo
      artifact: wasmcloud-echo.wasm
      links:
        - { to: messages, interface: "wasmcloud:messaging", config: { subscription: wasmcloud.echo } }
  providers:
    - { name: http, kind: http-server, config: { port: "PORT" } }
    - { name: one, kind: keyvalue-embedded }
    - { name: two, kind: keyvalue-embedded }
    - { name: blobs, kind: blobstore-embedded }
    - { name: messages, kind: messaging-embedded }
"#;

/// What a host's directory of secrets holds: one that the guest asks for, one that a link names.
const SECRETS: [(&str, &str); 2] = [("vault-password", "opensesame"), ("bucket-name", "c4n4ry-bucket")];

/// `trellis run` with these foreign components beside the manifest.
async fn run(dir: &tempfile::TempDir, manifest: &str, components: &[&str]) -> Result<(Process, SocketAddr)> {
    for component in components {
        fs::copy(fixtures::foreign(component)?, dir.path().join(format!("{component}.wasm")))?;
    }
    let secrets = dir.path().join("secrets");
    fs::create_dir(&secrets)?;
    for (name, secret) in SECRETS {
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(secrets.join(name))?;
        file.write_all(secret.as_bytes())?;
    }
    let port = free_port()?;
    fs::write(dir.path().join("app.yaml"), manifest.replace("PORT", &port.to_string()))?;
    let mut process = ProcessSpec::new("trellis run", fixtures::program("trellis")?, dir.path().join("log"))
        .args(["run", "app.yaml", "--sign", "--secrets-dir", "secrets"])
        .env("TRELLIS_HOME", dir.path().join("home"))
        .current_dir(dir.path())
        .spawn()?;
    process.wait_for_line("runs; Ctrl-C ends it", PATIENCE).await?;
    Ok((process, SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_interface_that_a_foreign_component_may_import_does_what_its_wit_says() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (mut process, address) = run(&dir, INTERFACES, &["interfaces", "wasmcloud-echo"]).await?;
    for path in [
        "/config",
        "/logging",
        "/keyvalue",
        "/batch",
        "/blobstore",
        "/secrets",
        "/link-name-1?other",
        "/link-name-1?default",
        "/link-name-2?other",
        "/link-name-2?default",
        "/publish?wasmcloud.echo",
        "/request?wasmcloud.echo",
    ] {
        assert_eq!(get(address, path)?, "ok\n", "{path}");
    }
    for line in ["logged with a version", "logged without a version", "nobody waits for an answer"] {
        process.wait_for_line(line, PATIENCE).await?;
    }
    // A secret is for the guest or the provider that it was named for, and for no log.
    let log = fs::read_to_string(dir.path().join("log"))?;
    for (name, secret) in SECRETS {
        assert!(!log.contains(secret), "the log shows the secret {name}");
    }
    Ok(())
}

/// The same components as on a lattice, all in one process, told apart by path.
#[tokio::test(flavor = "multi_thread")]
async fn hello_of_every_project_runs_in_one_process() -> Result<()> {
    let hellos = ["wasi", "wasip3", "wstd", "spin", "wasmcloud"];
    let mut manifest = String::from(
        "apiVersion: trellis.dev/v1\nkind: Application\nmetadata: { name: hellos }\nspec:\n  providers:\n    \
         - { name: http, kind: http-server, config: { port: \"PORT\" } }\n  actors:\n",
    );
    for name in hellos {
        manifest.push_str(&format!(
            "    - name: {name}\n      artifact: {name}-hello.wasm\n      links:\n        \
             - {{ to: http, interface: \"wasi:http/incoming-handler\", config: {{ path: /{name} }} }}\n"
        ));
    }
    let dir = tempfile::tempdir()?;
    let components = hellos.map(|name| format!("{name}-hello"));
    let components: Vec<&str> = components.iter().map(String::as_str).collect();
    let (mut process, address) = run(&dir, &manifest, &components).await?;
    for name in hellos {
        assert_eq!(get(address, &format!("/{name}/y"))?, format!("{name} says hello at /{name}/y\n"));
    }
    process.terminate()?;
    let status = process.wait_for_exit(Duration::from_secs(20)).await?;
    assert!(status.success(), "{status}");
    eventually(PATIENCE, "the port to be free again", || async {
        ensure!(std::net::TcpStream::connect(address).is_err(), "still listening");
        Ok(())
    })
    .await
}
